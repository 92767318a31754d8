//! The node's recent announcements, which its heartbeats repeat.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::envelope::{Content, Doorbell, MAX_REPEATED};
use crate::model::{CloseCode, ConversationId, Seq, UserId};
use crate::sync::Mutex;

/// Maximum number of doorbells that are remembered. The same maximum applies to joins and to
/// changed sessions. If there are more, the other nodes are asked to compare everything with the
/// store.
const MAX_REMEMBERED: usize = 16 * MAX_REPEATED;

/// This node's recent announcements, which heartbeats repeat; in a program that sends none,
/// [`ClusterLink::flush`](super::cluster_link::ClusterLink::flush) does. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct RecentAnnouncements {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Time for which an announcement is repeated.
    repeat_duration: Duration,
    announced: Mutex<Announced>,
}

/// Recent announcements, each with the time at which it was made.
#[derive(Debug, Default)]
struct Announced {
    doorbells: HashMap<ConversationId, (Seq, Instant)>,
    /// Users who became members of a conversation.
    joins: HashMap<(UserId, ConversationId), ((), Instant)>,
    /// Users whose sessions changed, each with the close code for the sessions that end because of
    /// it.
    changed_sessions: HashMap<UserId, (CloseCode, Instant)>,
    /// Time of the last announcement that was not remembered, or that this node does not know (see
    /// [`RecentAnnouncements::mark_overflowed`]).
    overflowed_at: Option<Instant>,
}

impl RecentAnnouncements {
    pub(crate) fn new(repeat_duration: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                repeat_duration,
                announced: Mutex::default(),
            }),
        }
    }

    pub(crate) fn add_doorbell(&self, doorbell: Doorbell) {
        let mut announced = self.inner.announced.lock();
        let fits = remember(&mut announced.doorbells, doorbell.conversation, doorbell.last_seq);
        announced.note_overflow(!fits);
    }

    pub(crate) fn add_join(&self, user: UserId, conversation: ConversationId) {
        let mut announced = self.inner.announced.lock();
        let fits = remember(&mut announced.joins, (user, conversation), ());
        announced.note_overflow(!fits);
    }

    pub(crate) fn add_changed_sessions(&self, user: UserId, code: CloseCode) {
        let mut announced = self.inner.announced.lock();
        let fits = remember(&mut announced.changed_sessions, user, code);
        announced.note_overflow(!fits);
    }

    /// Makes the next heartbeats ask the other nodes to compare everything with the store, because
    /// this node does not know what it would have to announce. In a program that sends none, a
    /// flush asks instead if it has to repeat announcements.
    pub(crate) fn mark_overflowed(&self) {
        self.inner.announced.lock().note_overflow(true);
    }

    /// Returns the remembered announcements (doorbells; joins and changed sessions), or `None` if
    /// some are missing.
    pub(crate) fn all(&self) -> Option<(Vec<Doorbell>, Vec<Content>)> {
        let announced = self.inner.announced.lock();
        if announced.overflowed_at.is_some() {
            return None;
        }
        let doorbells = announced.doorbells.iter();
        let doorbells = doorbells.map(|(conversation, (last_seq, _))| Doorbell {
            conversation: *conversation,
            last_seq: *last_seq,
        });
        let joins = announced.joins.keys();
        let joins = joins.map(|(user, conversation)| Content::UserJoined {
            user: *user,
            conversation: *conversation,
        });
        let changed_sessions = announced.changed_sessions.iter();
        let changed_sessions = changed_sessions.map(|(user, (code, _))| Content::SessionsChanged {
            user: *user,
            code: *code,
        });
        Some((doorbells.collect(), joins.chain(changed_sessions).collect()))
    }

    /// Returns the content of heartbeat `number`, split into several envelopes if it is large, and
    /// removes announcements that were repeated for long enough.
    pub(crate) fn heartbeat(&self, number: u64) -> Vec<Content> {
        let repeat_duration = self.inner.repeat_duration;
        let mut announced = self.inner.announced.lock();
        let mut doorbells = retain_recent(&mut announced.doorbells, repeat_duration)
            .into_iter()
            .map(|(conversation, last_seq)| Doorbell { conversation, last_seq });
        let mut joins = retain_recent(&mut announced.joins, repeat_duration)
            .into_iter()
            .map(|(join, ())| join);
        let mut changed_sessions = retain_recent(&mut announced.changed_sessions, repeat_duration).into_iter();
        announced.overflowed_at = announced.overflowed_at.filter(|at| at.elapsed() <= repeat_duration);
        let overflowed = announced.overflowed_at.is_some();
        drop(announced);
        let mut contents = Vec::with_capacity(1);
        loop {
            contents.push(Content::Heartbeat {
                number,
                doorbells: doorbells.by_ref().take(MAX_REPEATED).collect(),
                joins: joins.by_ref().take(MAX_REPEATED).collect(),
                changed_sessions: changed_sessions.by_ref().take(MAX_REPEATED).collect(),
                overflowed,
            });
            if doorbells.len() + joins.len() + changed_sessions.len() == 0 {
                return contents;
            }
        }
    }
}

impl Announced {
    fn note_overflow(&mut self, overflowed: bool) {
        if overflowed {
            self.overflowed_at = Some(Instant::now());
        }
    }
}

/// Adds an announcement. Returns `false` if the map is full.
fn remember<K: Eq + Hash, V>(map: &mut HashMap<K, (V, Instant)>, key: K, value: V) -> bool {
    let has_room = map.len() < MAX_REMEMBERED || map.contains_key(&key);
    if has_room {
        map.insert(key, (value, Instant::now()));
    }
    has_room
}

/// Removes the announcements that are older than `max_age`, and returns the others.
fn retain_recent<K: Copy + Eq + Hash, V: Copy>(map: &mut HashMap<K, (V, Instant)>, max_age: Duration) -> Vec<(K, V)> {
    map.retain(|_, (_, at)| at.elapsed() <= max_age);
    map.iter().map(|(key, (value, _))| (*key, *value)).collect()
}
