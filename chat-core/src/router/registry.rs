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
use crate::model::{ConversationId, DeviceId, Event, Seq, UserId};
use crate::store::MembershipView;

/// Sessions by user and by conversation.
#[derive(Debug, Default)]
pub(super) struct Registry {
    users: DashMap<UserId, Vec<Arc<SessionHandle>>>,
    conversations: DashMap<ConversationId, Tracked>,
    sessions: AtomicUsize,
}

/// What came of listing sessions under a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// They are listed; this node had not followed the conversation before: its log has to be looked at.
    First,
    /// They are listed.
    Listed,
    /// This node knows of a later change of membership than the one who asks: read again.
    Stale,
}

/// What sessions that come into a conversation know of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// That it goes up to there; they read it themselves.
    UpTo(Seq),
    /// Nothing.
    Nothing,
}

/// What came of offering events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// There is a hole before them: read the log.
    pub(super) gap: bool,
    /// The conversation is followed from now on.
    pub(super) begun: bool,
    /// It is followed no longer.
    pub(super) ended: bool,
}

/// Events of a conversation that sessions come into that are delivered to them; of more they are told that they are behind.
const DELIVER_ON_ENTRY: u64 = 32;

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

    /// Lists sessions of one user under a conversation that `head`, read after the sessions were added, says the user is in.
    pub(super) fn enter(&self, sessions: &[Arc<SessionHandle>], head: &MembershipView, told: Told) -> Entered {
        let (conversation, first_seq) = (&head.conversation, head.member.first_seq);
        let told_seq = match told {
            Told::UpTo(seq) => seq,
            Told::Nothing => first_seq.previous(),
        };
        let enter = |tracked: &mut Tracked| {
            for session in sessions {
                tracked.enter(conversation.id, session, first_seq, told_seq);
            }
        };
        match self.conversations.entry(conversation.id) {
            Entry::Occupied(mut entry) => {
                if entry.get().members_version() > conversation.members_version {
                    return Entered::Stale;
                }
                enter(entry.get_mut());
                Entered::Listed
            }
            Entry::Vacant(entry) => {
                let start = match told {
                    Told::Nothing if conversation.last_seq.0.saturating_sub(told_seq.0) <= DELIVER_ON_ENTRY => told_seq,
                    _ => conversation.last_seq,
                };
                let mut tracked = Tracked::new(start, conversation.members_version.min(start));
                enter(&mut tracked);
                if tracked.is_empty() {
                    return Entered::Listed;
                }
                entry.insert(tracked);
                Entered::First
            }
        }
    }

    /// Offers events of one conversation, ascending. `None` if nobody here is in it, nor comes into it by one of them.
    pub(super) fn offer(&self, conversation: ConversationId, events: &[Event]) -> Option<Offer> {
        let local = |user| self.of_user(user);
        match self.conversations.entry(conversation) {
            Entry::Occupied(mut entry) => {
                let offered = entry.get_mut().offer(events, local);
                let ended = entry.get().is_empty();
                if ended {
                    entry.remove();
                }
                Some(Offer {
                    gap: offered == Offered::Gap,
                    begun: false,
                    ended,
                })
            }
            Entry::Vacant(entry) => {
                let from = events.iter().position(|event| event.kind.changes_members())?;
                let before = events.get(from)?.seq.previous();
                let mut tracked = Tracked::new(before, before);
                let offered = tracked.offer(events.get(from..).unwrap_or_default(), local);
                if tracked.is_empty() {
                    return None;
                }
                entry.insert(tracked);
                Some(Offer {
                    gap: offered == Offered::Gap,
                    begun: true,
                    ended: false,
                })
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

    /// Devices with a session here.
    pub(super) fn devices(&self) -> Vec<(UserId, DeviceId)> {
        let sessions = self.users.iter();
        let devices = sessions.flat_map(|entry| {
            let devices = entry.value().iter().map(|session| session.caller.device);
            devices.map(|device| (*entry.key(), device)).collect::<Vec<_>>()
        });
        devices.collect()
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
