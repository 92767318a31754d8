//! [`ContactPair`]: the locked contacts of two users with each other.

use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::WriteIntents;
use crate::engine::operations::account::account_exists;
use crate::engine::operations::fence::fence;
use crate::engine::operations::log::Logs;
use crate::model::{
    Caller, Contact, ContactState, ConversationId, ConversationKind, Event, EventBody, EventKind, Timestamp, UserId,
};
use crate::store::{RequestNotice, StoreError, Transaction};

/// Relation of a user to a peer, as far as permissions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) enum Relation {
    /// The peer is the user, in the conversation of a user with themselves.
    Myself,
    /// The users are not friends, and neither blocked the other.
    Stranger,
    /// The peer is a friend.
    Friend,
    /// The peer blocked the user.
    BlockedByPeer,
    /// The user blocked the peer, who did not block the user.
    BlocksPeer,
}

impl Relation {
    /// Returns the relation of the owner of `own` to the owner of `theirs`, who are different
    /// users.
    pub(in crate::engine) fn of(own: Option<&Contact>, theirs: Option<&Contact>) -> Self {
        if theirs.is_some_and(|contact| contact.blocked) {
            Self::BlockedByPeer
        } else if own.is_some_and(|contact| contact.blocked) {
            Self::BlocksPeer
        } else if own.is_some_and(|contact| contact.state == ContactState::Friend) {
            Self::Friend
        } else {
            Self::Stranger
        }
    }
}

/// Contacts of a caller and a peer with each other, as [`ContactPair::write`] will write them.
#[derive(Debug)]
pub(in crate::engine) struct ContactPair {
    caller: Caller,
    now: Timestamp,
    /// The caller's contact.
    pub(in crate::engine) own: Contact,
    /// The peer's contact.
    pub(in crate::engine) theirs: Contact,
    inbox_events: Vec<InboxEvent>,
    /// True if the caller accepts the peer's friend request.
    befriends_peer: bool,
}

/// An event for the inbox of a user.
#[derive(Debug)]
struct InboxEvent {
    user: UserId,
    body: EventBody,
    /// If this is a time, the event is left out if the inbox got one of the same kind from the
    /// caller after it.
    once_since: Option<Timestamp>,
}

impl ContactPair {
    /// Locks the contacts of both users, and checks the caller's [`fence`]. Fails if the peer is
    /// the caller, or has no account or a deleted one.
    pub(in crate::engine) async fn lock(
        tx: &mut dyn Transaction,
        caller: Caller,
        peer: UserId,
        now: Timestamp,
    ) -> Result<Self, Rejection> {
        if caller.user == peer {
            return Err(CommandError::invalid("you cannot be your own contact; name another user").into());
        }
        let (own, theirs) = tx.lock_contacts(caller.user, peer).await?;
        fence(tx, caller, now).await?;
        if !account_exists(tx, peer).await? {
            return Err(CommandError::not_found().into());
        }
        Ok(Self {
            caller,
            now,
            own: own.unwrap_or_else(|| no_contact(caller.user, peer, now)),
            theirs: theirs.unwrap_or_else(|| no_contact(peer, caller.user, now)),
            inbox_events: Vec::new(),
            befriends_peer: false,
        })
    }

    /// Returns the relation of the caller to the peer.
    pub(in crate::engine) fn relation(&self) -> Relation {
        Relation::of(Some(&self.own), Some(&self.theirs))
    }

    /// Changes the state of the caller's contact.
    pub(in crate::engine) fn set_own(&mut self, state: ContactState, note: &str) {
        set_state(&mut self.own, state, note, self.now);
    }

    /// Changes the state of the peer's contact.
    pub(in crate::engine) fn set_theirs(&mut self, state: ContactState, note: &str) {
        set_state(&mut self.theirs, state, note, self.now);
    }

    /// Adds an event for a user's inbox.
    pub(in crate::engine) fn notify(&mut self, user: UserId, body: EventBody) {
        self.inbox_events.push(InboxEvent {
            user,
            body,
            once_since: None,
        });
    }

    /// Adds an event for a user's inbox, unless the caller caused one of the same kind there after
    /// `since`.
    pub(in crate::engine) fn notify_once(&mut self, user: UserId, body: EventBody, since: Timestamp) {
        self.inbox_events.push(InboxEvent {
            user,
            body,
            once_since: Some(since),
        });
    }

    /// Accepts the friend request of the peer. If one of the users requests the friendship again
    /// after it has ended, that request is announced, even if an earlier one was announced shortly
    /// before.
    pub(in crate::engine) fn befriend(&mut self) {
        self.befriends_peer = true;
        self.set_own(ContactState::Friend, "");
        self.set_theirs(ContactState::Friend, "");
    }

    /// Writes both contacts and the events. Deletes a contact that has neither a state nor a block,
    /// and after [`befriend`](Self::befriend) the records of which requests between the users were
    /// announced. Returns the events.
    pub(in crate::engine) async fn write(
        self,
        tx: &mut dyn Transaction,
        intents: &WriteIntents,
    ) -> Result<Vec<Event>, Rejection> {
        for contact in [&self.own, &self.theirs] {
            if contact.state == ContactState::None && !contact.blocked {
                tx.delete_contact(contact.owner, contact.peer).await?;
            } else {
                tx.put_contact(contact).await?;
            }
        }
        let mut inboxes = Vec::with_capacity(self.inbox_events.len());
        for event in &self.inbox_events {
            inboxes.push(inbox_of(tx, event.user).await?);
        }
        // The inboxes in which requests between the users may have been announced, each with the
        // sender of the requests.
        let mut announced = Vec::new();
        if self.befriends_peer {
            let (me, peer) = (self.caller.user, self.own.peer);
            for (user, sender) in [(me, peer), (peer, me)] {
                announced.push((inbox_of(tx, user).await?, sender));
            }
        }
        let with_requests = announced.iter().map(|(inbox, _)| *inbox);
        let mut logs = Logs::lock(tx, self.now, inboxes.iter().copied().chain(with_requests)).await?;
        for (inbox, sender) in announced {
            let request = RequestNotice {
                inbox,
                kind: EventKind::FriendRequested,
                sender,
                group: None,
            };
            tx.delete_request_notice(request).await?;
        }
        for (inbox, event) in inboxes.into_iter().zip(&self.inbox_events) {
            if let Some(since) = event.once_since {
                let notice = RequestNotice {
                    inbox,
                    kind: event.body.kind(),
                    sender: self.caller.user,
                    group: None,
                };
                if !tx.record_request_notice(notice, self.now, since).await? {
                    continue;
                }
            }
            logs.append(inbox, self.caller.into(), &event.body)?;
        }
        Ok(logs.write(tx, intents).await?.1)
    }
}

fn no_contact(owner: UserId, peer: UserId, now: Timestamp) -> Contact {
    Contact {
        owner,
        peer,
        state: ContactState::None,
        blocked: false,
        note: String::new(),
        since: now,
    }
}

fn set_state(contact: &mut Contact, state: ContactState, note: &str, now: Timestamp) {
    contact.state = state;
    contact.note = note.to_owned();
    contact.since = now;
}

/// Returns a user's inbox, which every account has from its creation.
pub(in crate::engine) async fn inbox_of(tx: &mut dyn Transaction, user: UserId) -> Result<ConversationId, StoreError> {
    let inbox = tx
        .conversation_of_kind(&ConversationKind::Inbox { owner: user })
        .await?;
    inbox.ok_or_else(|| StoreError::Corrupt(format!("user {user} has no inbox")))
}
