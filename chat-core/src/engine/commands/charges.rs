//! Table of the rates that commands are charged to before they run.

use crate::model::Command;

/// Rate of a user to which the dispatcher charges a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChargedRate {
    /// [`EngineConfig::change_rate`](crate::engine::EngineConfig::change_rate).
    Changes,
    /// The same rate as [`Changes`](Self::Changes), but a repetition of a command that already took
    /// effect is executed even if the user exceeds the rate, because its answer may have been lost.
    NewChanges,
    /// No rate: the command appends no event to a log, or its family charges a rate of its own.
    None,
}

impl ChargedRate {
    /// Returns the rate of a command. Every command that may append an event to a log is charged to
    /// the rate of changes or to a rate of its own.
    pub(super) const fn of(command: &Command) -> Self {
        match command {
            Command::AnswerFriend { .. }
            | Command::RemoveFriend(_)
            | Command::JoinGroup { .. }
            | Command::AnswerJoin { .. }
            | Command::DeclineInvitation(_)
            | Command::LeaveGroup(_)
            | Command::DeleteGroup(_)
            | Command::KickMember { .. }
            | Command::UnbanMember { .. }
            | Command::MuteMember { .. }
            | Command::TransferOwnership { .. } => Self::Changes,

            Command::Block(_)
            | Command::Unblock(_)
            | Command::SetRole { .. }
            | Command::UpdateGroup { .. }
            | Command::UpdateProfile(_) => Self::NewChanges,

            // These have rates of their own: of messages, of friend requests, of new groups, of
            // invitations, and of compared passwords. A friend request or a new group that exists
            // already is answered even if the user exceeds the rate.
            Command::Send { .. }
            | Command::RequestFriend { .. }
            | Command::CreateGroup(_)
            | Command::InviteMember { .. }
            | Command::ChangePassword { .. } => Self::None,

            // A session that has logged out can run no further command, so logging out needs no
            // rate. Revoking a device has none, so that the owner of an account can do so even if a
            // thief uses up the rates in a stolen session.
            Command::Logout | Command::RevokeDevice(_) => Self::None,

            // These append no event.
            Command::ListDevices
            | Command::SetPresence(_)
            | Command::SearchUsers { .. }
            | Command::GetUsers(_)
            | Command::ListContacts { .. }
            | Command::SearchGroups { .. }
            | Command::ListMembers { .. }
            | Command::ListConversations(_)
            | Command::GetConversation(_)
            | Command::ReadHistory { .. }
            | Command::Acknowledge { .. }
            | Command::MarkRead { .. }
            | Command::Typing { .. } => Self::None,
        }
    }
}
