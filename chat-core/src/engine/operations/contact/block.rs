//! Blocking and unblocking.

use async_trait::async_trait;

use super::end::end_relation;
use super::pair::Pair;
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, ContactState, Event, Timestamp, UserId};
use crate::store::Transaction;

/// Blocks a user, which ends a friendship and discards the user's request; or unblocks.
#[derive(Clone, Debug)]
pub(in crate::engine) struct SetBlocked {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) blocked: bool,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for SetBlocked {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut pair = Pair::lock(tx, self.caller, self.peer, self.now).await?;
        if pair.own.blocked == self.blocked {
            return Ok(Vec::new());
        }
        if self.blocked {
            end_relation(&mut pair, self.caller.user, self.peer);
            if pair.own.state == ContactState::Pending {
                // The peer keeps a request without an answer.
                pair.set_own(ContactState::None, "");
            }
        }
        pair.own.blocked = self.blocked;
        pair.write(tx, intents).await
    }
}
