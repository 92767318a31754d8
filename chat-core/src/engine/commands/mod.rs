//! Commands by family, and the dispatcher that passes each command to its family.
//!
//! A family is a small struct that owns the parts that its commands use. A command changes the
//! store with a unit of work from [`operations`](super::operations), except for acknowledgements
//! and read marks, which are queued and written together. The family checks limits before the unit
//! of work and starts deliveries after it.

mod account;
mod charges;
mod contacts;
mod groups;
mod logins;
mod messages;
mod presence;
mod reading;

use std::sync::Arc;
use std::time::Duration;

pub(super) use account::AccountCommands;
pub(super) use contacts::{ContactCommands, ContactOptions};
pub(super) use groups::GroupCommands;
pub(super) use logins::{LoginOptions, Logins};
pub(super) use messages::MessageCommands;
pub(super) use presence::PresenceCommands;
pub(super) use reading::{PageLimits, ReadingCommands};

use self::charges::ChargedRate;
use super::error::CommandError;
use super::lifecycle::Lifecycle;
use super::limits::UserLimits;
use super::queries::Queries;
use super::query_lanes::QueryPermit;
use crate::model::{Caller, Command, Outcome, ReplyCode};
use crate::service::{CommandFuture, CommandResult};
use crate::time::now;

/// `Ok` if the user's rate allows a change, otherwise the error with which a change is refused.
type Allowed = Result<(), CommandError>;

/// Passes each command to the family that executes it.
#[derive(Debug)]
pub(super) struct Dispatcher {
    pub(super) lifecycle: Lifecycle,
    pub(super) queries: Arc<Queries>,
    pub(super) limits: Arc<UserLimits>,
    pub(super) account: Arc<AccountCommands>,
    pub(super) contacts: Arc<ContactCommands>,
    pub(super) groups: Arc<GroupCommands>,
    pub(super) messages: MessageCommands,
    pub(super) presence: Arc<PresenceCommands>,
    pub(super) reading: Arc<ReadingCommands>,
}

impl Dispatcher {
    /// Executes a command. Drafts and group changes of one session in one conversation take effect
    /// in the order of the calls, not in the order in which the returned futures are polled.
    pub(super) fn execute(&self, caller: Caller, command: Command) -> CommandFuture {
        if self.lifecycle.is_draining() {
            return CommandFuture::ready(Err(CommandError::shutting_down()));
        }
        let rate = ChargedRate::of(&command);
        if rate == ChargedRate::None {
            return self.dispatch(caller, command, Ok(()));
        }
        let changes = Arc::clone(&self.limits.changes);
        match changes.charge_unguarded(caller.user) {
            Ok(()) => {
                let answer = self.dispatch(caller, command, Ok(()));
                // The charge stays if the caller drops the future, because the command runs on.
                CommandFuture::run(async move {
                    let answer = answer.await;
                    if answer.as_ref().is_err_and(may_be_repeated) {
                        changes.refund(caller.user);
                    }
                    answer
                })
            }
            Err(refusal) if rate == ChargedRate::NewChanges => self.dispatch(caller, command, Err(refusal)),
            Err(refusal) => CommandFuture::ready(Err(refusal)),
        }
    }

    /// Passes a command on. The argument `allowed` says whether a command that is charged to
    /// [`ChargedRate::NewChanges`] may change anything, or else why not.
    fn dispatch(&self, caller: Caller, command: Command, allowed: Allowed) -> CommandFuture {
        let account = || Arc::clone(&self.account);
        let contacts = || Arc::clone(&self.contacts);
        let groups = || Arc::clone(&self.groups);
        let reading = || Arc::clone(&self.reading);
        let ready = CommandFuture::ready;
        match command {
            Command::Send { conversation, draft } => self.messages.send(caller, conversation, draft),

            Command::Logout => self.change(account().logout(caller)),
            Command::ChangePassword { old, new } => self.change(account().change_password(caller, old, new)),
            Command::RevokeDevice(device) => self.change(account().revoke_device(caller, device)),
            Command::UpdateProfile(changes) => self.change(account().update_profile(caller, changes, allowed)),
            Command::ListDevices => self.query(caller, &self.account, move |account, permit| {
                account.list_devices(caller, permit)
            }),

            Command::RequestFriend { user, note } => self.change(contacts().request_friend(caller, user, note)),
            Command::AnswerFriend { user, accept } => self.change(contacts().answer_friend(caller, user, accept)),
            Command::RemoveFriend(user) => self.change(contacts().remove_friend(caller, user)),
            Command::Block(user) => self.change(contacts().set_blocked(caller, user, true, allowed)),
            Command::Unblock(user) => self.change(contacts().set_blocked(caller, user, false, allowed)),
            Command::ListContacts { after, limit } => self.query(caller, &self.contacts, move |contacts, permit| {
                contacts.list(caller, after, limit, permit)
            }),
            Command::SearchUsers { query: text, limit } => {
                self.query(caller, &self.contacts, move |contacts, permit| {
                    contacts.search_users(text, limit, permit)
                })
            }
            Command::GetUsers(users) => self.query(caller, &self.contacts, move |contacts, permit| {
                contacts.get_users(caller, users, permit)
            }),

            Command::CreateGroup(new) => self.change(groups().create(caller, new)),
            Command::JoinGroup { group, note } => groups().join(caller, group, note),
            Command::AnswerJoin { group, user, accept } => groups().answer_join(caller, group, user, accept),
            Command::InviteMember { group, user } => groups().invite(caller, group, user),
            Command::DeclineInvitation(group) => groups().decline_invitation(caller, group),
            Command::LeaveGroup(group) => groups().leave(caller, group),
            Command::DeleteGroup(group) => groups().delete(caller, group),
            Command::KickMember { group, user, ban } => groups().kick(caller, group, user, ban),
            Command::UnbanMember { group, user } => groups().unban(caller, group, user),
            Command::MuteMember {
                group,
                user,
                duration_ms,
            } => groups().mute(caller, group, user, duration_ms),
            Command::SetRole { group, user, role } => groups().set_role(caller, group, user, role, allowed),
            Command::TransferOwnership { group, user } => groups().transfer(caller, group, user),
            Command::UpdateGroup { group, changes } => groups().update(caller, group, changes, allowed),
            Command::SearchGroups { query: text, limit } => self.query(caller, &self.groups, move |groups, permit| {
                groups.search(caller, text, limit, permit)
            }),
            Command::ListMembers { group, after, limit } => {
                self.query_after_marks(caller, &self.groups, move |groups, permit| {
                    groups.list_members(caller, group, after, limit, permit)
                })
            }

            Command::ListConversations(query) => {
                self.query_after_marks(caller, &self.reading, move |reading, permit| {
                    reading.list_conversations(caller, query, permit)
                })
            }
            Command::GetConversation(conversation) => {
                self.query_after_marks(caller, &self.reading, move |reading, permit| {
                    reading.get_conversation(caller, conversation, permit)
                })
            }
            Command::ReadHistory { conversation, page } => {
                let wait = self.reading.wait_for_page(caller.user);
                let page = self.query(caller, &self.reading, move |reading, permit| {
                    reading.read_history(caller, conversation, page, permit)
                });
                CommandFuture::run(async move {
                    wait.await?;
                    page.await
                })
            }
            Command::Acknowledge { conversation, seq } => match self.reading.acknowledge(caller, conversation, seq) {
                Some(result) => ready(result),
                None => self.run_to_end(caller, reading().acknowledge_checked(caller, conversation, seq)),
            },
            Command::MarkRead { conversation, seq } => match self.reading.mark_read(caller, conversation, seq) {
                Some(result) => ready(result),
                None => self.run_to_end(caller, reading().mark_read_checked(caller, conversation, seq)),
            },

            Command::SetPresence(state) => {
                self.run_at_once(caller, Arc::clone(&self.presence).set_presence(caller, state))
            }
            // A typing notice that would be late is dropped.
            Command::Typing { .. } if !self.limits.read_delay(caller.user).is_zero() => ready(Ok(Outcome::Done)),
            Command::Typing { conversation, stopped } => {
                let presence = Arc::clone(&self.presence);
                self.run_at_once(caller, presence.typing(caller, conversation, stopped))
            }
        }
    }

    /// Executes a command of a caller without a connection. If the user exceeds the message rate,
    /// the engine itself delays the answer to a draft, or refuses the draft, because no server
    /// slows the caller down.
    pub(super) fn execute_paced(&self, caller: Caller, command: Command) -> CommandFuture {
        match command {
            Command::Send { conversation, draft } if !self.lifecycle.is_draining() => {
                self.messages.send_paced(caller, conversation, draft)
            }
            other => self.execute(caller, other),
        }
    }

    /// If the command sends a draft, charges it to its user's message rate. Returns the time for
    /// which the server must not read from the caller's connection, zero for other commands.
    pub(super) fn pace(&self, caller: Caller, command: &Command) -> Duration {
        match command {
            Command::Send { .. } => self.messages.pace(caller),
            _ => Duration::ZERO,
        }
    }

    /// Runs a command that changes the store, in a separate task, so that a caller that drops the
    /// future does not cancel the command. The command's unit of work checks that the caller may
    /// still act.
    fn change(&self, command: impl Future<Output = CommandResult> + Send + 'static) -> CommandFuture {
        self.lifecycle.spawn_command(command).into()
    }

    /// Runs a query of a family, as [`Queries::run`] does.
    fn query<C, F>(
        &self,
        caller: Caller,
        family: &Arc<C>,
        query: impl FnOnce(Arc<C>, QueryPermit) -> F + Send + 'static,
    ) -> CommandFuture
    where
        C: Send + Sync + 'static,
        F: Future<Output = CommandResult> + Send + 'static,
    {
        let (queries, family) = (Arc::clone(&self.queries), Arc::clone(family));
        CommandFuture::run(async move {
            let deadline = queries.access.deadline();
            queries.run(caller, deadline, |permit| query(family, permit)).await
        })
    }

    /// Runs a query of a family, as [`query`](Self::query) does, after the queued acknowledgements
    /// and read marks of the user have been written, because the answer contains them. If their
    /// write fails or takes long, the answer contains the earlier ones.
    fn query_after_marks<C, F>(
        &self,
        caller: Caller,
        family: &Arc<C>,
        query: impl FnOnce(Arc<C>, QueryPermit) -> F + Send + 'static,
    ) -> CommandFuture
    where
        C: Send + Sync + 'static,
        F: Future<Output = CommandResult> + Send + 'static,
    {
        let (queries, family, marks) = (
            Arc::clone(&self.queries),
            Arc::clone(family),
            Arc::clone(&self.reading.marks),
        );
        CommandFuture::run(async move {
            let deadline = queries.access.deadline();
            marks.wait_until_written(caller.user).await;
            // If the marks took long, the query still has half of the usual time.
            let least = now() + (queries.access.deadline() - now()) / 2;
            queries
                .run(caller, deadline.max(least), |permit| query(family, permit))
                .await
        })
    }

    /// Runs a command that does not wait for the user's queries, as [`Queries::run_at_once`] does.
    fn run_at_once(
        &self,
        caller: Caller,
        command: impl Future<Output = CommandResult> + Send + 'static,
    ) -> CommandFuture {
        CommandFuture::run(Arc::clone(&self.queries).run_at_once(caller, command))
    }

    /// Runs a command like [`run_at_once`](Self::run_at_once), but in a separate task, which runs
    /// to its end even if the caller drops the future: clients disconnect right after their last
    /// mark.
    fn run_to_end(
        &self,
        caller: Caller,
        command: impl Future<Output = CommandResult> + Send + 'static,
    ) -> CommandFuture {
        let command = Arc::clone(&self.queries).run_at_once(caller, command);
        CommandFuture::run(self.lifecycle.spawn_query(command))
    }
}

/// Returns whether a client repeats the command after this error, because the command was not
/// executed, or its outcome is unknown.
const fn may_be_repeated(error: &CommandError) -> bool {
    matches!(
        error.code,
        ReplyCode::Busy | ReplyCode::TryAgain | ReplyCode::ShuttingDown
    )
}
