//! Unit of work that blocks or unblocks a user.

use async_trait::async_trait;

use super::end::end_relation;
use super::pair::ContactPair;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::lock_user;
use crate::model::{Caller, ContactState, Event, Timestamp, UserId};
use crate::store::Transaction;

/// Blocks or unblocks a user. Does nothing if the user is blocked or not blocked already, as
/// requested. Blocking ends a friendship, withdraws the caller's friend request to the user, and
/// discards a friend request from the user.
#[derive(Clone, Debug)]
pub(in crate::engine) struct SetBlocked {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) blocked: bool,
    /// `Ok` if the caller's rate allows a change, otherwise the error with which a change is
    /// refused.
    pub(in crate::engine) allowed: Result<(), CommandError>,
    /// Maximum number of users whom the caller may block.
    pub(in crate::engine) max_blocked: u32,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for SetBlocked {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        if self.blocked {
            // Parallel blocks of the caller wait for each other, so that together they cannot
            // exceed the maximum.
            lock_user(tx, self.caller.user).await?;
        }
        let mut pair = ContactPair::lock(tx, self.caller, self.peer, self.now).await?;
        if pair.own.blocked == self.blocked {
            return Ok(Vec::new());
        }
        self.allowed.clone()?;
        if self.blocked {
            if tx.blocked_count(self.caller.user).await? >= self.max_blocked {
                let text = "you have blocked the maximum number of users; unblock one first";
                return Err(CommandError::limit(text).into());
            }
            end_relation(&mut pair, self.caller.user, self.peer);
            if pair.own.state == ContactState::Pending {
                // The peer still sees its request as open, and gets no answer.
                pair.set_own(ContactState::None, "");
            }
        }
        pair.own.blocked = self.blocked;
        pair.write(tx, intents).await
    }
}
