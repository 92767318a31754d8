//! Unit of work that ends a friendship or withdraws a friend request.

use async_trait::async_trait;

use super::pair::ContactPair;
use crate::engine::error::Rejection;
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, ContactState, Event, EventBody, Timestamp, UserId};
use crate::store::Transaction;

/// Ends a friendship, or withdraws the caller's friend request. Changes nothing if there is
/// neither. A former friend gets an event in the inbox.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RemoveFriend {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for RemoveFriend {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut pair = ContactPair::lock(tx, self.caller, self.peer, self.now).await?;
        end_relation(&mut pair, self.caller.user, self.peer);
        pair.write(tx, intents).await
    }
}

/// Ends the caller's friendship with the peer, or withdraws the caller's friend request.
pub(super) fn end_relation(pair: &mut ContactPair, me: UserId, peer: UserId) {
    match pair.own.state {
        ContactState::Friend => {
            pair.set_own(ContactState::None, "");
            pair.set_theirs(ContactState::None, "");
            pair.notify(peer, EventBody::FriendRemoved { by: me });
        }
        ContactState::Requested => {
            pair.set_own(ContactState::None, "");
            if pair.theirs.state == ContactState::Pending {
                pair.set_theirs(ContactState::None, "");
            }
        }
        ContactState::Pending | ContactState::None => {}
    }
}
