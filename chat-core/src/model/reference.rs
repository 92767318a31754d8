//! References to users and conversations, by id or by name.

use super::{ConversationId, GroupName, UserId, UserName};

/// Reference to a user, by id or by canonical name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserRef {
    /// Reference by id.
    Id(UserId),
    /// Reference by name.
    Name(UserName),
}

impl From<UserId> for UserRef {
    fn from(id: UserId) -> Self {
        Self::Id(id)
    }
}

impl From<UserName> for UserRef {
    fn from(name: UserName) -> Self {
        Self::Name(name)
    }
}

/// Reference to a conversation: by its id, by the name of a group, or by the other user of a direct
/// conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConversationRef {
    /// Reference by id.
    Id(ConversationId),
    /// The direct conversation with this user.
    Direct(UserRef),
    /// The group with this name.
    Group(GroupName),
}

impl ConversationRef {
    /// Returns a reference to the direct conversation with `user`. The conversation of a user with
    /// their own account contains notes to self.
    #[must_use]
    pub fn direct(user: impl Into<UserRef>) -> Self {
        Self::Direct(user.into())
    }

    /// Returns whether this refers to a group or a user by name. The name may later belong to
    /// another group or user.
    #[must_use]
    pub const fn is_by_name(&self) -> bool {
        matches!(self, Self::Group(_) | Self::Direct(UserRef::Name(_)))
    }
}

impl From<ConversationId> for ConversationRef {
    fn from(id: ConversationId) -> Self {
        Self::Id(id)
    }
}

impl From<UserRef> for ConversationRef {
    /// Returns a reference to the direct conversation with `user`.
    fn from(user: UserRef) -> Self {
        Self::Direct(user)
    }
}

impl From<GroupName> for ConversationRef {
    fn from(name: GroupName) -> Self {
        Self::Group(name)
    }
}
