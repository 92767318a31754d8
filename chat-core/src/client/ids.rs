//! Ids and message numbers, which have a meaning in one store epoch of the server only.
//!
//! After an operator has restored a backup, the server does not know which ids and numbers it has
//! assigned since the backup was made. It assigns them a second time, to other users, conversations
//! and messages. The restore therefore has to give the store a new `store_epoch`. A request that
//! contains an id or number is sent only under the `store_epoch` under which the application made
//! it. Names keep their meaning. The text of a search may be sent under any epoch, even if it is an
//! id: a search changes nothing, and its text usually comes from a person, who sees what it found.

use crate::model::{
    Command, ConversationId, ConversationInfo, ConversationRef, ConversationView, DraftContent, GroupName, PageFrom,
    Seq, UserId, UserName, UserRef,
};

/// Returns whether a reference contains the id of a conversation or of a user.
pub(super) fn is_by_id(conversation: &ConversationRef) -> bool {
    !conversation.is_by_name()
}

/// Returns whether the content of a message refers to another message by its number, or to users by
/// their ids.
pub(super) fn has_ids(content: &DraftContent) -> bool {
    match content {
        DraftContent::Message { reply_to, mentions, .. } => reply_to.is_some() || !mentions.is_empty(),
        DraftContent::Edit { .. } | DraftContent::Recall { .. } | DraftContent::React { .. } => true,
    }
}

/// Returns whether a command contains ids of users or conversations, or numbers of messages. Ids of
/// devices do not count: they are random, so that none is assigned twice. Nor does the text of a
/// search, for the reason that the [module](self) gives.
pub(super) fn command_has_ids(command: &Command) -> bool {
    let is_user_id = |user: &UserRef| matches!(user, UserRef::Id(_));
    match command {
        Command::Logout
        | Command::ChangePassword { .. }
        | Command::ListDevices
        | Command::RevokeDevice(_)
        | Command::UpdateProfile(_)
        | Command::SetPresence(_)
        | Command::SearchUsers { .. }
        | Command::CreateGroup(_)
        | Command::SearchGroups { .. } => false,
        Command::ListContacts { after, .. } => *after != UserId(0),
        Command::ListConversations(query) => query.after != ConversationId(0),
        Command::Acknowledge { .. } | Command::MarkRead { .. } | Command::Typing { .. } => true,
        Command::GetUsers(users) => users.iter().any(is_user_id),
        Command::RequestFriend { user, .. }
        | Command::AnswerFriend { user, .. }
        | Command::RemoveFriend(user)
        | Command::Block(user)
        | Command::Unblock(user) => is_user_id(user),
        Command::JoinGroup { group, .. }
        | Command::DeclineInvitation(group)
        | Command::LeaveGroup(group)
        | Command::DeleteGroup(group)
        | Command::UpdateGroup { group, .. }
        | Command::GetConversation(group) => is_by_id(group),
        Command::AnswerJoin { group, user, .. }
        | Command::InviteMember { group, user }
        | Command::KickMember { group, user, .. }
        | Command::UnbanMember { group, user }
        | Command::MuteMember { group, user, .. }
        | Command::SetRole { group, user, .. }
        | Command::TransferOwnership { group, user } => is_by_id(group) || is_user_id(user),
        Command::ListMembers { group, after, .. } => is_by_id(group) || *after != UserId(0),
        Command::ReadHistory { conversation, page } => is_by_id(conversation) || has_position(page.from),
        Command::Send { conversation, draft } => is_by_id(conversation) || has_ids(&draft.content),
    }
}

fn has_position(from: PageFrom) -> bool {
    !matches!(from, PageFrom::Newest | PageFrom::After(Seq::ZERO))
}

/// Returns the reference to a conversation in a command; `None` for commands without such a
/// reference, which includes those that contain the id of a conversation instead.
pub(super) fn any_conversation_in(command: &mut Command) -> Option<&mut ConversationRef> {
    match command {
        Command::JoinGroup { group, .. } | Command::DeclineInvitation(group) | Command::GetConversation(group) => {
            Some(group)
        }
        command => member_conversation_in(command),
    }
}

/// Returns the reference to the conversation in a command that a user runs as a member of that
/// conversation. Returns `None` for other commands, and for commands that contain an id and no
/// reference.
pub(super) fn member_conversation_in(command: &mut Command) -> Option<&mut ConversationRef> {
    match command {
        Command::AnswerJoin { group, .. }
        | Command::InviteMember { group, .. }
        | Command::LeaveGroup(group)
        | Command::DeleteGroup(group)
        | Command::KickMember { group, .. }
        | Command::UnbanMember { group, .. }
        | Command::MuteMember { group, .. }
        | Command::SetRole { group, .. }
        | Command::TransferOwnership { group, .. }
        | Command::UpdateGroup { group, .. }
        | Command::ListMembers { group, .. }
        | Command::Send {
            conversation: group, ..
        }
        | Command::ReadHistory {
            conversation: group, ..
        } => Some(group),
        _ => None,
    }
}

/// Returns the reference to a conversation by its present name; `None` for the inbox, and for names
/// that the rules do not allow.
pub(super) fn name_of(info: &ConversationInfo) -> Option<ConversationRef> {
    match &info.view {
        ConversationView::Direct(peer) => {
            let name = UserName::parse_any(&peer.name).ok()?;
            Some(ConversationRef::Direct(UserRef::Name(name)))
        }
        ConversationView::Group(group) => {
            let name = GroupName::parse_any(&group.profile.name).ok()?;
            Some(ConversationRef::Group(name))
        }
        ConversationView::Inbox => None,
    }
}
