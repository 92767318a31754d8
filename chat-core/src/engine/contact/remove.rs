//! Ending a friendship.

use async_trait::async_trait;

use super::pair::Pair;
use crate::engine::error::Refusal;
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, ContactState, Event, EventBody, Timestamp, UserId};
use crate::store::Transaction;

/// Ends a friendship or takes a request back. Where there is neither, nothing happens.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RemoveFriend {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for RemoveFriend {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Refusal> {
        let mut pair = Pair::lock(tx, self.caller, self.peer, self.now).await?;
        part(&mut pair, self.caller.user, self.peer);
        pair.write(tx, intents).await
    }
}

/// Ends what the caller has with the other: friendship, or a request of the caller's.
pub(super) fn part(pair: &mut Pair, me: UserId, peer: UserId) {
    match pair.own.state {
        ContactState::Friend => {
            pair.set_own(ContactState::None, "");
            pair.set_other(ContactState::None, "");
            pair.notify(peer, EventBody::FriendRemoved { by: me });
        }
        ContactState::Requested => {
            pair.set_own(ContactState::None, "");
            if pair.other.state == ContactState::Pending {
                pair.set_other(ContactState::None, "");
            }
        }
        ContactState::Pending | ContactState::None => {}
    }
}
