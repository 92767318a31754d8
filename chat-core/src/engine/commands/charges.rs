//! Which rate of the user each command is charged to before it runs.

use crate::model::Command;

/// Rate of a user to which the dispatcher charges a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChargedRate {
    /// [`EngineConfig::change_rate`](crate::engine::EngineConfig::change_rate).
    Changes,
    /// None: the command changes nothing that other users store or see in a log, or its family
    /// charges a rate of its own.
    None,
}

impl ChargedRate {
    /// Returns the rate of a command. Every command that may append an event to a log is charged to
    /// this rate or to one of its own.
    pub(super) const fn of(command: &Command) -> Self {
        match command {
            Command::AnswerFriend { .. }
            | Command::RemoveFriend(_)
            | Command::Block(_)
            | Command::Unblock(_)
            | Command::JoinGroup { .. }
            | Command::AnswerJoin { .. }
            | Command::DeclineInvitation(_)
            | Command::LeaveGroup(_)
            | Command::DeleteGroup(_)
            | Command::KickMember { .. }
            | Command::UnbanMember { .. }
            | Command::MuteMember { .. }
            | Command::SetRole { .. }
            | Command::TransferOwnership { .. }
            | Command::UpdateGroup { .. }
            | Command::UpdateProfile(_)
            | Command::RevokeDevice(_) => Self::Changes,

            // These have rates of their own: of messages, of friend requests, of new groups, of
            // invitations, and of compared passwords. A friend request or a new group that exists
            // already is answered even if the user exceeds the rate.
            Command::Send { .. }
            | Command::RequestFriend { .. }
            | Command::CreateGroup(_)
            | Command::InviteMember { .. }
            | Command::ChangePassword { .. } => Self::None,

            // A session may end at any time, and then has no further commands.
            Command::Logout => Self::None,

            // These append no event.
            Command::ListDevices
            | Command::SetPresence(_)
            | Command::SearchUsers { .. }
            | Command::GetUsers(_)
            | Command::ListContacts
            | Command::SearchGroups { .. }
            | Command::ListMembers { .. }
            | Command::ListConversations
            | Command::GetConversation(_)
            | Command::ReadHistory { .. }
            | Command::Acknowledge { .. }
            | Command::MarkRead { .. }
            | Command::Typing { .. } => Self::None,
        }
    }
}
