//! Asking for friendship.

use async_trait::async_trait;

use super::pair::{Pair, Standing};
use crate::engine::error::{CommandError, Refusal};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, ContactState, Event, EventBody, Note, ReplyCode, Timestamp, UserId};
use crate::store::Transaction;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Asks for friendship; where the other has asked already, makes it. Again: nothing new happens.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RequestFriend {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) note: Note,
    /// Whether the caller may make a new one now.
    pub(in crate::engine) allowed: Result<(), CommandError>,
    /// Requests that may stand open within a day.
    pub(in crate::engine) open_per_day: u32,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for RequestFriend {
    /// What was appended, and whether this was a new request as far as the one who asks can tell.
    type Output = (Vec<Event>, bool);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Refusal> {
        let me = self.caller.user;
        let mut pair = Pair::lock(tx, self.caller, self.peer, self.now).await?;
        match pair.standing() {
            Standing::Friend => return Ok((Vec::new(), false)),
            Standing::Blocker => {
                return Err(
                    CommandError::new(ReplyCode::Forbidden, "you have blocked them; unblock them first").into(),
                );
            }
            _ if pair.own.state == ContactState::Requested => return Ok((Vec::new(), false)),
            Standing::Blocked | Standing::Stranger | Standing::Oneself => {}
        }
        self.allowed.clone()?;
        let since = Timestamp(self.now.0.saturating_sub(DAY_MS));
        if tx.requests_since(me, since).await? >= self.open_per_day {
            return Err(CommandError::limit("too many friend requests today; wait until tomorrow").into());
        }
        if pair.standing() == Standing::Blocked {
            // To the one who asks it looks like a request that nobody answers.
            pair.set_own(ContactState::Requested, self.note.as_str());
        } else if pair.other.state == ContactState::Requested {
            pair.befriend();
            pair.notify(self.peer, EventBody::FriendAnswered { by: me, accepted: true });
            pair.notify(
                me,
                EventBody::FriendAnswered {
                    by: self.peer,
                    accepted: true,
                },
            );
        } else {
            pair.set_own(ContactState::Requested, self.note.as_str());
            pair.set_other(ContactState::Pending, self.note.as_str());
            let note = self.note.as_str().to_owned();
            pair.notify(self.peer, EventBody::FriendRequested { from: me, note });
        }
        Ok((pair.write(tx, intents).await?, true))
    }
}
