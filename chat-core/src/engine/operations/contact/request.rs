//! Unit of work that requests a friendship.

use std::time::Duration;

use async_trait::async_trait;

use super::pair::{ContactPair, Relation, inbox_of};
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, Contact, ContactState, Event, EventBody, Note, ReplyCode, Timestamp, UserId};
use crate::store::Transaction;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Requests a friendship. If the peer has requested it already, accepts that request, so that both
/// users become friends. Does nothing if the users are friends, or if the caller's request is open
/// already. Fails with [`Rejection::Outdated`] if it would accept a request and the hooks were
/// asked about a new one, or the other way round; the client is then told to try again.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RequestFriend {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) peer: UserId,
    pub(in crate::engine) note: Note,
    /// `Some(true)` if the hooks were asked about an acceptance of the peer's request,
    /// `Some(false)` if about a new request; `None` if they were not asked.
    pub(in crate::engine) asked_to_accept: Option<bool>,
    /// `Ok` if the caller's rate allows a new request, otherwise the error with which a request
    /// that would change anything is refused.
    pub(in crate::engine) allowed: Result<(), CommandError>,
    /// Maximum number of the caller's requests of the last 24 hours that are still open.
    pub(in crate::engine) max_open_per_day: u32,
    /// Maximum number of open requests to the peer.
    pub(in crate::engine) max_incoming: u32,
    /// Time for which a repeated request is not announced in the peer's inbox.
    pub(in crate::engine) repeat_interval: Duration,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for RequestFriend {
    /// The appended events, and whether the request changed anything: `false` if the users were
    /// friends or the request was open already. A request to a peer who blocked the caller changes
    /// the caller's contact, so that the caller does not learn of the block.
    type Output = (Vec<Event>, bool);

    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection> {
        let me = self.caller.user;
        let mut pair = ContactPair::lock(tx, self.caller, self.peer, self.now).await?;
        match pair.relation() {
            Relation::Friend => return Ok((Vec::new(), false)),
            Relation::BlocksPeer => {
                return Err(
                    CommandError::new(ReplyCode::Forbidden, "you blocked this user; unblock them first").into(),
                );
            }
            _ if pair.own.state == ContactState::Requested => return Ok((Vec::new(), false)),
            Relation::BlockedByPeer | Relation::Stranger | Relation::Myself => {}
        }
        self.allowed.clone()?;
        if tx.requests_since(me, self.now.before(DAY)).await? >= self.max_open_per_day {
            let text = "too many of your friend requests are open; wait for answers or until tomorrow";
            return Err(CommandError::limit(text).into());
        }
        let accepts = accepts_request(Some(&pair.theirs));
        if self.asked_to_accept.is_some_and(|asked| asked != accepts) {
            return Err(Rejection::Outdated);
        }
        if !accepts {
            self.check_incoming(tx).await?;
        }
        if pair.relation() == Relation::BlockedByPeer {
            // The caller sees the request as open, and gets no answer.
            pair.set_own(ContactState::Requested, self.note.as_str());
        } else if accepts {
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
            pair.set_theirs(ContactState::Pending, self.note.as_str());
            let note = self.note.as_str().to_owned();
            let since = self.now.before(self.repeat_interval);
            pair.notify_once(self.peer, EventBody::FriendRequested { from: me, note }, since);
        }
        Ok((pair.write(tx, intents).await?, true))
    }
}

impl RequestFriend {
    /// Locks the peer's inbox, and fails if the peer may receive no further request. This also
    /// applies to a caller whom the peer blocked: if only the requests of other users were refused,
    /// the caller would learn of the block.
    async fn check_incoming(&self, tx: &mut dyn Transaction) -> Result<(), Rejection> {
        // Parallel requests to the peer wait for each other, so that together they cannot exceed
        // the maximum.
        let inbox = inbox_of(tx, self.peer).await?;
        tx.lock_conversation(inbox).await?;
        if tx.incoming_request_count(self.peer, self.max_incoming).await? >= self.max_incoming {
            let text = "this user has too many open friend requests; try again when some have been answered";
            return Err(CommandError::limit(text).into());
        }
        Ok(())
    }
}

/// Returns whether a friend request of the caller accepts the request of the peer, whose contact is
/// `theirs`.
pub(in crate::engine) fn accepts_request(theirs: Option<&Contact>) -> bool {
    theirs.is_some_and(|theirs| theirs.state == ContactState::Requested && !theirs.blocked)
}
