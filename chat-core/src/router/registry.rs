//! Which sessions are on this node, by user and by conversation.
//!
//! Lock order: a conversation's entry, then a user's, then a session's own state. No guard leaves this file, so none is held
//! across an await.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::session::SessionHandle;
use super::tracked::{Offered, Tracked};
use crate::model::{ConversationId, Event, Seq, UserId};
use crate::store::Head;

/// Sessions by user and by conversation.
#[derive(Debug, Default)]
pub(super) struct Registry {
    users: DashMap<UserId, Vec<Arc<SessionHandle>>>,
    conversations: DashMap<ConversationId, Tracked>,
    sessions: AtomicUsize,
}

/// What came of listing a session under a conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// It is listed; this node had not followed the conversation before.
    First,
    /// It is listed.
    Listed,
    /// This node knows of a later change of membership than the one who asks: read again.
    Stale,
}

impl Registry {
    pub(super) fn add(&self, session: &Arc<SessionHandle>) {
        self.users
            .entry(session.caller.user)
            .or_default()
            .push(Arc::clone(session));
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a session off every list; yields the conversations and tells whether the user has no more sessions here, and
    /// which conversations nobody here is in any more.
    pub(super) fn remove(&self, session: &SessionHandle) -> (Vec<ConversationId>, bool) {
        let mut abandoned = Vec::new();
        for conversation in session.end() {
            if let Entry::Occupied(mut entry) = self.conversations.entry(conversation) {
                entry.get_mut().remove(session.id);
                if entry.get().is_empty() {
                    entry.remove();
                    abandoned.push(conversation);
                }
            }
        }
        let mut user_gone = false;
        if let Entry::Occupied(mut entry) = self.users.entry(session.caller.user) {
            let before = entry.get().len();
            entry.get_mut().retain(|other| other.id != session.id);
            if entry.get().len() < before {
                self.sessions.fetch_sub(1, Ordering::Relaxed);
            }
            if entry.get().is_empty() {
                entry.remove();
                user_gone = true;
            }
        }
        (abandoned, user_gone)
    }

    /// Lists a session under a conversation that `head`, read after the session was added, says its user is in.
    pub(super) fn enter(&self, session: &Arc<SessionHandle>, head: &Head) -> Entered {
        let conversation = &head.conversation;
        let mut entered = Entered::Listed;
        let mut entry = self.conversations.entry(conversation.id).or_insert_with(|| {
            entered = Entered::First;
            Tracked::new(conversation.last_seq, conversation.members_version)
        });
        if entry.members_version() > conversation.members_version {
            return Entered::Stale;
        }
        entry.enter(conversation.id, session, head.member.first_seq);
        entered
    }

    /// Offers events of one conversation, ascending. `None` if nobody here is in it, nor comes into it by one of them.
    pub(super) fn offer(&self, conversation: ConversationId, events: &[Event]) -> Option<Offered> {
        let local = |user| self.of_user(user);
        match self.conversations.entry(conversation) {
            Entry::Occupied(mut entry) => {
                let offered = entry.get_mut().offer(events, local);
                if entry.get().is_empty() {
                    entry.remove();
                }
                Some(offered)
            }
            Entry::Vacant(entry) => {
                let first = events.iter().find(|event| event.kind.changes_members())?;
                let mut tracked = Tracked::new(first.seq.previous(), first.seq.previous());
                let from = events
                    .iter()
                    .position(|event| event.seq == first.seq)
                    .unwrap_or_default();
                let offered = tracked.offer(events.get(from..).unwrap_or_default(), local);
                if tracked.is_empty() {
                    return None;
                }
                entry.insert(tracked);
                Some(offered)
            }
        }
    }

    /// Up to where a conversation was delivered here, if somebody is in it.
    pub(super) fn head(&self, conversation: ConversationId) -> Option<Seq> {
        self.conversations.get(&conversation).map(|tracked| tracked.head())
    }

    pub(super) fn of_user(&self, user: UserId) -> Vec<Arc<SessionHandle>> {
        self.users
            .get(&user)
            .map(|sessions| sessions.clone())
            .unwrap_or_default()
    }

    pub(super) fn in_conversation(&self, conversation: ConversationId) -> Vec<Arc<SessionHandle>> {
        let tracked = self.conversations.get(&conversation);
        tracked
            .map(|tracked| tracked.sessions().map(Arc::clone).collect())
            .unwrap_or_default()
    }

    pub(super) fn users(&self) -> Vec<UserId> {
        self.users.iter().map(|entry| *entry.key()).collect()
    }

    pub(super) fn conversations(&self) -> Vec<ConversationId> {
        self.conversations.iter().map(|entry| *entry.key()).collect()
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    pub(super) fn conversation_count(&self) -> usize {
        self.conversations.len()
    }

    pub(super) fn follows(&self, conversation: ConversationId) -> bool {
        self.conversations.contains_key(&conversation)
    }

    pub(super) fn has_user(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }
}
