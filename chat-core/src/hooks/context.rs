//! Contexts that deciding hooks receive: the user who acts, and the conversation or group involved.

use crate::model::{Caller, ConversationId, GroupInfo, Note, Role, UserInfo};

/// User for whom a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Actor {
    /// Identity with which the engine checks the command.
    pub caller: Caller,
    /// Account of the user.
    pub user: UserInfo,
}

impl Actor {
    /// Returns an actor with this identity and account.
    #[must_use]
    pub const fn new(caller: Caller, user: UserInfo) -> Self {
        Self { caller, user }
    }
}

/// Sender and conversation of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendContext {
    /// Sender of the draft.
    pub actor: Actor,
    /// Conversation that the draft is sent to. `None` for a direct conversation that does not exist
    /// yet; the engine opens it after the hooks have allowed the draft, if the sender may write to
    /// the peer.
    pub conversation: Option<ConversationId>,
    /// Peer, group or inbox that the draft is sent to.
    pub target: AppendTarget,
}

impl AppendContext {
    /// Returns the context of a draft.
    #[must_use]
    pub const fn new(actor: Actor, conversation: Option<ConversationId>, target: AppendTarget) -> Self {
        Self {
            actor,
            conversation,
            target,
        }
    }
}

/// Recipient of a draft: a user, a group or an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendTarget {
    /// Direct conversation with this user; the sender itself in a conversation of notes to self.
    Direct(UserInfo),
    /// Group, and the sender's role in it.
    Group {
        /// Name, description, policies and size of the group.
        group: GroupInfo,
        /// Role of the sender; `None` for a user who is not a member now. The engine checks the
        /// right to send after the hooks.
        role: Option<Role>,
    },
    /// Inbox. The engine refuses the draft after the hooks, because no draft can be sent to an
    /// inbox.
    Inbox,
}

/// User and group of a command about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupContext {
    /// User for whom the command runs.
    pub actor: Actor,
    /// Name, description, policies and size of the group.
    pub group: GroupInfo,
    /// Role of the user; `None` for a user who is not a member now. The engine checks the user's
    /// right after the hooks.
    pub role: Option<Role>,
}

impl GroupContext {
    /// Returns the context of a command about a group.
    #[must_use]
    pub const fn new(actor: Actor, group: GroupInfo, role: Option<Role>) -> Self {
        Self { actor, group, role }
    }
}

/// Step towards a friendship.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FriendshipStep {
    /// The actor asks for friendship, with a note for the peer.
    Request(Note),
    /// The actor accepts the request of the peer, by an answer or by requesting the friendship too.
    Accept,
}
