//! [`UserChange`]: a recent write of a user's devices or memberships.

use std::time::Duration;

use crate::model::UserId;

/// The latest change of a user: a recent write or deletion of one of the user's devices or
/// memberships. Advances of cursors and of read marks do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UserChange {
    /// The user.
    pub user: UserId,
    /// Number that grows with each transaction that changes the user. A node that has seen this
    /// number of the user before has read the change already.
    pub number: u64,
}

impl UserChange {
    /// Time for which a store returns a change. It exceeds the time for which a unit of work can
    /// run, because a change counts from the moment when the unit of work made it.
    pub const WINDOW: Duration = Duration::from_secs(120);

    /// Returns the change of `user` with this number.
    #[must_use]
    pub const fn new(user: UserId, number: u64) -> Self {
        Self { user, number }
    }
}
