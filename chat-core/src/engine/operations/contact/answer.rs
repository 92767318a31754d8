//! Unit of work that answers a friend request.

use async_trait::async_trait;

use super::pair::{ContactPair, Relation};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, ContactState, Event, EventBody, Timestamp, UserId};
use crate::store::Transaction;

/// Accepts or declines the peer's friend request. The peer gets an event in the inbox. Accepting
/// does nothing if the users are friends already.
#[derive(Clone, Debug)]
pub(in crate::engine) struct AnswerFriend {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) accept: bool,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for AnswerFriend {
    type Output = Vec<Event>;

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Vec<Event>, Rejection> {
        let mut pair = ContactPair::lock(tx, self.caller, self.peer, self.now).await?;
        if pair.relation() == Relation::Friend && self.accept {
            return Ok(Vec::new());
        }
        if pair.own.state != ContactState::Pending {
            return Err(CommandError::not_found().into());
        }
        if self.accept {
            pair.befriend();
        } else {
            pair.set_own(ContactState::None, "");
            pair.set_theirs(ContactState::None, "");
        }
        pair.notify(
            self.peer,
            EventBody::FriendAnswered {
                by: self.caller.user,
                accepted: self.accept,
            },
        );
        pair.write(tx, intents).await
    }
}
