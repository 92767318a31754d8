//! [`LookUps`]: schedule of the look-ups, which read the ends of logs and the feed's cursors in
//! them from the store.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::unique_queue::UniqueQueue;
use super::work::{LookUp, Positions};
use crate::model::{ConversationId, Seq};
use crate::store::FeedShard;

/// If this many conversations wait to be looked up, news of further conversations requests a scan
/// instead.
const MAX_QUEUED: usize = 4096;
/// Maximum number of conversations in one look-up.
const MAX_IN_LOOK_UP: usize = 256;
/// The pause between two scans is at least the duration of the previous scan times this factor, so
/// that scans of a large store take a small part of its time.
const SCAN_PAUSE_FACTOR: u32 = 20;
/// A conversation that has news is looked up, even if the feed's user is not known to be a member,
/// if its last `Seq` is at most this: the conversation may have been created a moment ago, and a
/// few events may follow its creation before the feed learns of the membership. A greater value
/// would only cause more look-ups.
const MAX_SEQ_OF_NEW_CONVERSATION: Seq = Seq(4);

/// Schedule of the look-ups. One runs at a time: of conversations that have news, or of a page of a
/// scan, which goes through all conversations of the scope.
#[derive(Debug)]
pub(super) struct LookUps {
    /// Conversations to look up.
    queue: UniqueQueue,
    scan: Scan,
    /// Number of look-ups that were started.
    started: u64,
    /// Time at which the running look-up started.
    running_since: Option<Instant>,
    backoff: Backoff,
    /// Conversations of the feed's user; `None` in a feed of all conversations.
    memberships: Option<Memberships>,
}

/// A scan of all conversations of the scope for those in which the feed is behind.
#[derive(Debug)]
struct Scan {
    /// Conversation after which the next page starts, while a scan is in progress.
    after: Option<ConversationId>,
    /// True if another scan is requested.
    is_requested: bool,
    /// Total duration of this scan's look-ups. Pauses of the scan do not count, because they cost
    /// the store nothing.
    cost: Duration,
    /// Earliest start of the next scan.
    not_before: Instant,
}

/// Conversations that the feed's user may be able to read, as far as the feed knows them. News of
/// other conversations is ignored, unless the conversation is new
/// ([`MAX_SEQ_OF_NEW_CONVERSATION`]) or a look-up is running.
#[derive(Debug, Default)]
struct Memberships {
    /// Conversations in which the user has, or may have, a membership. A read without readable
    /// events removes its conversation.
    known: HashSet<ConversationId>,
    /// Other conversations that had news while a look-up was running. If the look-up finds that the
    /// user is a member, they are looked up again.
    had_news: HashSet<ConversationId>,
}

impl LookUps {
    /// Creates the look-ups of a feed of one user, or of all conversations.
    pub(super) fn new(is_of_user: bool, now: Instant) -> Self {
        Self {
            queue: UniqueQueue::default(),
            scan: Scan {
                after: None,
                is_requested: false,
                cost: Duration::ZERO,
                not_before: now,
            },
            started: 0,
            running_since: None,
            backoff: Backoff::new(now),
            memberships: is_of_user.then(Memberships::default),
        }
    }

    /// Returns whether a conversation that has news has to be looked up or read: always in a feed
    /// of all conversations, and otherwise if the feed's user may be a member. Remembers other
    /// conversations while a look-up is running, because it may find that the user is a member.
    pub(super) fn concerns(&mut self, conversation: ConversationId, last_seq: Seq) -> bool {
        let Some(memberships) = &mut self.memberships else {
            return true;
        };
        if last_seq <= MAX_SEQ_OF_NEW_CONVERSATION || memberships.known.contains(&conversation) {
            return true;
        }
        if self.running_since.is_some() {
            if memberships.had_news.len() < MAX_QUEUED {
                memberships.had_news.insert(conversation);
            } else {
                self.scan.is_requested = true;
            }
        }
        false
    }

    /// Records that the feed's user may have joined a conversation. Returns `false` if the feed has
    /// no user.
    pub(super) fn joined(&mut self, conversation: ConversationId) -> bool {
        let Some(memberships) = &mut self.memberships else {
            return false;
        };
        memberships.known.insert(conversation);
        true
    }

    /// Records whether a read returned events that the feed's user may read. If not, news of the
    /// conversation is ignored until the user joins it or a scan finds it.
    pub(super) fn record_readability(&mut self, conversation: ConversationId, is_readable: bool) {
        if let Some(memberships) = &mut self.memberships {
            if is_readable {
                memberships.known.insert(conversation);
            } else {
                memberships.known.remove(&conversation);
            }
        }
    }

    /// Queues a conversation that has news, or requests a scan if the queue is full.
    pub(super) fn push(&mut self, conversation: ConversationId) {
        if self.queue.len() < MAX_QUEUED || self.queue.contains(conversation) {
            self.queue.push(conversation);
        } else {
            self.scan.is_requested = true;
        }
    }

    /// Requests a scan, which starts once the pause after the previous scan is over.
    pub(super) fn request_scan(&mut self) {
        self.scan.is_requested = true;
    }

    /// Makes a scan start from the beginning, without a pause: the node works on more shards than
    /// before.
    pub(super) fn rescan(&mut self, now: Instant) {
        self.scan.is_requested = true;
        self.scan.after = None;
        self.scan.not_before = now;
    }

    /// Returns the number of the next look-up.
    pub(super) fn next_number(&self) -> u64 {
        self.started + 1
    }

    /// Returns the number of the look-up that was started last.
    pub(super) fn last_number(&self) -> u64 {
        self.started
    }

    /// Returns whether the next look-up may start now, if any conversation is to be looked up.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.running_since.is_none() && self.backoff.until() <= now
    }

    /// Starts the next look-up; a scan covers `shards`, which the node works on. Returns `None` if
    /// there is nothing to look up.
    pub(super) fn start(&mut self, now: Instant, shards: Vec<FeedShard>) -> Option<LookUp> {
        if self.scan.after.is_none() && self.scan.is_requested && self.scan.not_before <= now {
            self.scan.is_requested = false;
            self.scan.after = Some(ConversationId(0));
            self.scan.cost = Duration::ZERO;
        }
        // While a scan is in progress, its pages alternate with look-ups of conversations that have
        // news.
        let is_turn_of_scan = self.queue.is_empty() || self.started.is_multiple_of(2);
        let look_up = match self.scan.after.filter(|_| is_turn_of_scan) {
            Some(after) => LookUp::Page { after, shards },
            None if self.queue.is_empty() => return None,
            None => {
                let next = std::iter::from_fn(|| self.queue.pop());
                LookUp::Conversations(next.take(MAX_IN_LOOK_UP).collect())
            }
        };
        self.started += 1;
        self.running_since = Some(now);
        Some(look_up)
    }

    /// Handles the answer to the running look-up.
    pub(super) fn succeeded(&mut self, now: Instant, look_up: &LookUp, found: &Positions) {
        self.backoff.succeeded();
        let started_at = self.running_since.take().unwrap_or(now);
        // A scan that was restarted in the meantime does not continue from this page.
        if let LookUp::Page { after, .. } = look_up
            && self.scan.after == Some(*after)
        {
            self.scan.cost += now.saturating_duration_since(started_at);
            self.scan.after = found.next;
            if found.next.is_none() {
                self.scan.not_before = now + self.scan.cost * SCAN_PAUSE_FACTOR;
            }
        }
        let Some(memberships) = &mut self.memberships else {
            return;
        };
        memberships.known.extend(&found.examined);
        // These conversations grew while the look-up was running, so it may not have seen their
        // last events.
        for conversation in std::mem::take(&mut memberships.had_news) {
            if memberships.known.contains(&conversation) {
                self.queue.push(conversation);
            }
        }
    }

    /// Records that the running look-up failed; it is repeated.
    pub(super) fn failed(&mut self, now: Instant, look_up: LookUp) {
        self.running_since = None;
        self.backoff.failed(now);
        if let LookUp::Conversations(conversations) = look_up {
            conversations.into_iter().for_each(|id| self.queue.push(id));
        }
    }

    /// Returns the times at which the next look-up and the next scan can start, each `None` if
    /// there is nothing to start or a look-up is running.
    pub(super) fn timeouts(&self) -> [Option<Instant>; 2] {
        if self.running_since.is_some() {
            return [None; 2];
        }
        let until = self.backoff.until();
        let has_work = !self.queue.is_empty() || self.scan.after.is_some();
        let scan = self.scan.is_requested.then(|| self.scan.not_before.max(until));
        [has_work.then_some(until), scan]
    }

    pub(super) fn remove_shard(&mut self, shard: FeedShard) {
        self.queue.remove_shard(shard);
    }

    /// Returns the number of conversations that wait to be looked up.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}
