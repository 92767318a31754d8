//! Two users and what they are to each other, locked.

use crate::engine::error::{CommandError, Refusal};
use crate::engine::fence::fence;
use crate::engine::log::Logs;
use crate::engine::operation::WriteIntents;
use crate::model::{
    Caller, Contact, ContactState, ConversationId, ConversationKind, Event, EventBody, Timestamp, UserId,
};
use crate::store::{StoreError, Transaction};

/// What a user is to another, as far as rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) enum Standing {
    /// Notes to self.
    Oneself,
    /// Nothing.
    Stranger,
    /// A friend.
    Friend,
    /// Blocked by the other.
    Blocked,
    /// Has blocked the other.
    Blocker,
}

impl Standing {
    /// Of the owner of `own` towards the owner of `other`.
    pub(in crate::engine) fn of(own: Option<&Contact>, other: Option<&Contact>) -> Self {
        if other.is_some_and(|contact| contact.blocked) {
            Self::Blocked
        } else if own.is_some_and(|contact| contact.blocked) {
            Self::Blocker
        } else if own.is_some_and(|contact| contact.state == ContactState::Friend) {
            Self::Friend
        } else {
            Self::Stranger
        }
    }
}

/// The pair, with its rows as they are and as they will be.
#[derive(Debug)]
pub(in crate::engine) struct Pair {
    caller: Caller,
    now: Timestamp,
    /// The caller's side.
    pub(in crate::engine) own: Contact,
    /// The other side.
    pub(in crate::engine) other: Contact,
    notices: Vec<(UserId, EventBody)>,
}

impl Pair {
    /// Locks the pair and checks the caller's fence.
    pub(in crate::engine) async fn lock(
        tx: &mut dyn Transaction,
        caller: Caller,
        peer: UserId,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if caller.user == peer {
            return Err(CommandError::invalid("that is yourself").into());
        }
        let (own, other) = tx.lock_contacts(caller.user, peer).await?;
        fence(tx, caller).await?;
        if tx.account(peer).await?.is_none() {
            return Err(CommandError::not_found().into());
        }
        Ok(Self {
            caller,
            now,
            own: own.unwrap_or_else(|| nothing(caller.user, peer, now)),
            other: other.unwrap_or_else(|| nothing(peer, caller.user, now)),
            notices: Vec::new(),
        })
    }

    pub(in crate::engine) fn standing(&self) -> Standing {
        Standing::of(Some(&self.own), Some(&self.other))
    }

    /// Puts the caller's side into a state.
    pub(in crate::engine) fn set_own(&mut self, state: ContactState, note: &str) {
        set(&mut self.own, state, note, self.now);
    }

    /// Puts the other side into a state.
    pub(in crate::engine) fn set_other(&mut self, state: ContactState, note: &str) {
        set(&mut self.other, state, note, self.now);
    }

    /// Puts an event into an inbox.
    pub(in crate::engine) fn notify(&mut self, user: UserId, body: EventBody) {
        self.notices.push((user, body));
    }

    /// Both become friends, and both are told.
    pub(in crate::engine) fn befriend(&mut self) {
        self.set_own(ContactState::Friend, "");
        self.set_other(ContactState::Friend, "");
    }

    /// Writes both sides and the notices.
    pub(in crate::engine) async fn write(
        self,
        tx: &mut dyn Transaction,
        intents: &WriteIntents,
    ) -> Result<Vec<Event>, Refusal> {
        for side in [&self.own, &self.other] {
            if side.state == ContactState::None && !side.blocked {
                tx.delete_contact(side.owner, side.peer).await?;
            } else {
                tx.put_contact(side).await?;
            }
        }
        let mut inboxes = Vec::with_capacity(self.notices.len());
        for (user, _) in &self.notices {
            inboxes.push(inbox_of(tx, *user).await?);
        }
        let mut logs = Logs::lock(tx, self.now, inboxes.iter().copied()).await?;
        for (inbox, (_, body)) in inboxes.iter().zip(&self.notices) {
            logs.append(*inbox, self.caller.into(), body)?;
        }
        Ok(logs.write(tx, intents).await?.1)
    }
}

fn nothing(owner: UserId, peer: UserId, now: Timestamp) -> Contact {
    Contact {
        owner,
        peer,
        state: ContactState::None,
        blocked: false,
        note: String::new(),
        since: now,
    }
}

fn set(side: &mut Contact, state: ContactState, note: &str, now: Timestamp) {
    side.state = state;
    side.note = note.to_owned();
    side.since = now;
}

/// A user's inbox. Every account has one since it was made.
pub(in crate::engine) async fn inbox_of(tx: &mut dyn Transaction, user: UserId) -> Result<ConversationId, StoreError> {
    let inbox = tx
        .conversation_of_kind(&ConversationKind::Inbox { owner: user })
        .await?;
    inbox.ok_or_else(|| StoreError::Corrupt(format!("user {user} has no inbox")))
}
