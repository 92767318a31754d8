//! Commands that an operator runs for a user.

use std::sync::Arc;

use super::Operator;
use crate::commands::Commands;
use crate::engine::commands::Dispatcher;
use crate::engine::error::CommandError;
use crate::engine::operations::operator::RecordAction;
use crate::model::{Caller, Command, ConversationRef, DraftContent, Outcome, UserId, UserRef};

/// Handle by which an operator executes commands for a user; see [`Operator::acting_as`].
///
/// The user's own rights and rates apply. The same commands are refused as for
/// [`ActingAs`](crate::engine::ActingAs). If the account does not exist or is disabled, commands
/// fail with [`AccountDisabled`](crate::model::ReplyCode::AccountDisabled). The hooks decide
/// about the commands, as about those of a session.
///
/// # Audit log
/// A command is recorded before it runs, with the operator, the operator's source, the user, the
/// kind of command and the object that it acts on, but without texts. If the record cannot be
/// stored, the command does not run. A record thus says that the operator submitted the command,
/// not that the command succeeded.
///
/// The log records all changes, and reads of private data: history, conversations and contacts. It
/// does not record other reads: searches and lookups, which every user can make, and lists of
/// members and devices, which [`Operator::group`] and [`Operator::account`] return too.
///
/// # Order
/// Await each call before the next one: calls that run at the same time take effect in any order.
#[derive(Clone, Debug)]
pub struct OperatorActingAs {
    operator: Operator,
    caller: Caller,
}

impl Operator {
    /// Returns a handle that executes commands of `user`, and records them in the audit log. It is
    /// cheap to create: each command checks that the account exists.
    #[must_use]
    pub fn acting_as(&self, user: UserId) -> OperatorActingAs {
        OperatorActingAs {
            operator: self.clone(),
            caller: Caller::operator(user),
        }
    }
}

impl Commands for OperatorActingAs {
    type Error = CommandError;

    fn execute(&self, command: Command) -> impl Future<Output = Result<Outcome, CommandError>> + Send {
        let caller = self.caller;
        let commands: Arc<Dispatcher> = Arc::clone(&self.operator.parts.commands);
        self.operator.spawn(move |operator| async move {
            if let Some(kind) = recorded_kind(&command) {
                let record = RecordAction {
                    audit: operator.audit_context(),
                    kind,
                    user: caller.user,
                    detail: object(&command),
                };
                operator.parts.access.run(caller.user, record).await?;
            }
            commands.execute_paced(caller, command).await
        })
    }
}

/// Returns the kind under which the audit log records a command, or `None` if it does not record
/// the command.
const fn recorded_kind(command: &Command) -> Option<&'static str> {
    Some(match command {
        Command::SearchUsers { .. }
        | Command::GetUsers(_)
        | Command::SearchGroups { .. }
        | Command::ListMembers { .. }
        | Command::ListDevices => return None,
        Command::Logout => "acting.logout",
        Command::ChangePassword { .. } => "acting.change_password",
        Command::RevokeDevice(_) => "acting.revoke_device",
        Command::UpdateProfile(_) => "acting.update_profile",
        Command::SetPresence(_) => "acting.set_presence",
        Command::RequestFriend { .. } => "acting.request_friend",
        Command::AnswerFriend { .. } => "acting.answer_friend",
        Command::RemoveFriend(_) => "acting.remove_friend",
        Command::Block(_) => "acting.block",
        Command::Unblock(_) => "acting.unblock",
        Command::ListContacts { .. } => "acting.list_contacts",
        Command::CreateGroup(_) => "acting.create_group",
        Command::JoinGroup { .. } => "acting.join_group",
        Command::AnswerJoin { .. } => "acting.answer_join",
        Command::InviteMember { .. } => "acting.invite_member",
        Command::DeclineInvitation(_) => "acting.decline_invitation",
        Command::LeaveGroup(_) => "acting.leave_group",
        Command::DeleteGroup(_) => "acting.delete_group",
        Command::KickMember { .. } => "acting.kick_member",
        Command::UnbanMember { .. } => "acting.unban_member",
        Command::MuteMember { .. } => "acting.mute_member",
        Command::SetRole { .. } => "acting.set_role",
        Command::TransferOwnership { .. } => "acting.transfer_ownership",
        Command::UpdateGroup { .. } => "acting.update_group",
        Command::Send { draft, .. } => match draft.content {
            DraftContent::Message { .. } => "acting.send",
            DraftContent::Edit { .. } => "acting.edit",
            DraftContent::Recall { .. } => "acting.recall",
            DraftContent::React { .. } => "acting.react",
        },
        Command::ListConversations(_) => "acting.list_conversations",
        Command::GetConversation(_) => "acting.get_conversation",
        Command::ReadHistory { .. } => "acting.read_history",
        Command::Acknowledge { .. } => "acting.acknowledge",
        Command::MarkRead { .. } => "acting.mark_read",
        Command::Typing { .. } => "acting.set_typing",
    })
}

/// Returns the object that a command acts on, as the audit log describes it; empty if the object is
/// the user, the user's devices, or a list of the user's contacts or conversations.
fn object(command: &Command) -> String {
    match command {
        Command::RequestFriend { user, .. }
        | Command::AnswerFriend { user, .. }
        | Command::RemoveFriend(user)
        | Command::Block(user)
        | Command::Unblock(user) => user_object(user),
        Command::CreateGroup(new) => format!("group {}", new.name),
        Command::JoinGroup { group, .. }
        | Command::DeclineInvitation(group)
        | Command::LeaveGroup(group)
        | Command::DeleteGroup(group)
        | Command::UpdateGroup { group, .. } => conversation_object(group),
        Command::AnswerJoin { group, user, .. }
        | Command::InviteMember { group, user }
        | Command::KickMember { group, user, .. }
        | Command::UnbanMember { group, user }
        | Command::MuteMember { group, user, .. }
        | Command::SetRole { group, user, .. }
        | Command::TransferOwnership { group, user } => {
            format!("{}, {}", conversation_object(group), user_object(user))
        }
        Command::Send { conversation, draft } => match draft.content {
            DraftContent::Message { .. } => conversation_object(conversation),
            DraftContent::Edit { target, .. }
            | DraftContent::Recall { target }
            | DraftContent::React { target, .. } => {
                format!("{}, message {target}", conversation_object(conversation))
            }
        },
        Command::GetConversation(conversation) | Command::ReadHistory { conversation, .. } => {
            conversation_object(conversation)
        }
        Command::Acknowledge { conversation, seq } | Command::MarkRead { conversation, seq } => {
            format!("conversation:{conversation}, up to {seq}")
        }
        Command::Typing { conversation, .. } => format!("conversation:{conversation}"),
        _ => String::new(),
    }
}

fn user_object(user: &UserRef) -> String {
    match user {
        UserRef::Id(id) => format!("user:{id}"),
        UserRef::Name(name) => format!("user {name}"),
    }
}

fn conversation_object(conversation: &ConversationRef) -> String {
    match conversation {
        ConversationRef::Id(id) => format!("conversation:{id}"),
        ConversationRef::Group(name) => format!("group {name}"),
        ConversationRef::Direct(peer) => format!("direct conversation with {}", user_object(peer)),
    }
}
