//! [`CursorWrites`]: schedule of the writes of cursors to the store.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::places::Places;
use super::shards::Shards;
use super::unique_queue::UniqueQueue;
use super::work::CursorMoves;
use crate::model::ConversationId;
use crate::store::FeedShard;

/// Maximum number of cursors in one write.
const MAX_CURSORS: usize = 512;

/// Schedule of the writes of cursors. One write runs at a time; it contains every cursor that moved
/// since the last one, up to a limit.
#[derive(Debug)]
pub(super) struct CursorWrites {
    /// Conversations whose cursors have to be written.
    queue: UniqueQueue,
    /// Time of the next write, if a cursor is queued; `None` while a write runs.
    due: Option<Instant>,
    flush_interval: Duration,
    backoff: Backoff,
    /// True if queued cursors are to be written without waiting for the flush interval, because a
    /// consumer or the closing of the feed waits for them.
    is_urgent: bool,
}

impl CursorWrites {
    pub(super) fn new(flush_interval: Duration, now: Instant) -> Self {
        Self {
            queue: UniqueQueue::default(),
            due: Some(now),
            flush_interval,
            backoff: Backoff::new(now),
            is_urgent: false,
        }
    }

    /// Queues a cursor that moved. A write starts within the flush interval, or later if another
    /// write runs or the backoff after a failure is not over.
    pub(super) fn push(&mut self, now: Instant, conversation: ConversationId) {
        if self.queue.is_empty() {
            self.schedule(now + self.flush_interval);
        }
        self.queue.push(conversation);
    }

    /// Makes the queued cursors be written at once, or right after the running write. The backoff
    /// after a failure applies nevertheless.
    pub(super) fn request_flush(&mut self, now: Instant) {
        self.is_urgent = true;
        self.schedule(now);
    }

    fn schedule(&mut self, at: Instant) {
        if let Some(due) = &mut self.due {
            *due = at.max(self.backoff.until());
        }
    }

    /// Starts a write if one is due. Returns the cursors in the order of their shards, because
    /// every node locks the leases in that order.
    pub(super) fn start(&mut self, now: Instant, places: &mut Places, shards: &Shards) -> Option<Vec<CursorMoves>> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let mut cursors = Vec::new();
        while cursors.len() < MAX_CURSORS
            && let Some(conversation) = self.queue.pop()
        {
            let cursor = places.get_mut(conversation).and_then(|place| place.unrecorded());
            cursors.extend(cursor.map(|cursor| (conversation, cursor)));
        }
        cursors.sort_unstable_by_key(|(conversation, _)| (FeedShard::of(*conversation), *conversation));
        let by_shard = cursors.chunk_by(|(a, _), (b, _)| FeedShard::of(*a) == FeedShard::of(*b));
        let moves = by_shard.filter_map(|cursors| {
            let (conversation, _) = cursors.first()?;
            Some(CursorMoves {
                lease: shards.lease_of(*conversation)?.clone(),
                cursors: cursors.to_vec(),
            })
        });
        let moves: Vec<CursorMoves> = moves.collect();
        if moves.is_empty() {
            return None;
        }
        self.due = None;
        // The cursor for which a consumer waits may be among those that did not fit.
        self.is_urgent &= !self.queue.is_empty();
        Some(moves)
    }

    /// Records that the running write succeeded. `moved` are conversations whose cursors have moved
    /// in the meantime.
    pub(super) fn succeeded(&mut self, now: Instant, moved: impl IntoIterator<Item = ConversationId>) {
        self.backoff.succeeded();
        moved.into_iter().for_each(|conversation| self.queue.push(conversation));
        let is_full = self.queue.len() >= MAX_CURSORS;
        let wait = if self.is_urgent || is_full {
            Duration::ZERO
        } else {
            self.flush_interval
        };
        self.due = Some(now + wait);
    }

    /// Records that the running write failed; its cursors are written again.
    pub(super) fn failed(&mut self, now: Instant, moves: Vec<CursorMoves>) {
        self.backoff.failed(now);
        let cursors = moves.into_iter().flat_map(|moves| moves.cursors);
        cursors.for_each(|(conversation, _)| self.queue.push(conversation));
        self.due = Some(self.backoff.until());
    }

    /// Returns whether no cursor is queued and no write runs.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.due.is_some()
    }

    /// Returns the time of the next write, or `None` if no cursor is queued or a write runs.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.due.filter(|_| !self.queue.is_empty())
    }

    pub(super) fn remove_shard(&mut self, shard: FeedShard) {
        self.queue.remove_shard(shard);
    }
}
