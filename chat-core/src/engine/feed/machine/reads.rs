//! [`Reads`]: schedule of the reads of logs.

use std::time::Instant;

use super::backoff::Backoff;
use super::unique_queue::UniqueQueue;
use crate::model::ConversationId;
use crate::store::FeedShard;

/// Maximum number of logs that are read at the same time.
const MAX_READS: usize = 4;

/// Schedule of the reads of logs.
#[derive(Debug)]
pub(super) struct Reads {
    /// Conversations that have events to read.
    queue: UniqueQueue,
    /// Number of reads that were started.
    started: u64,
    running: usize,
    backoff: Backoff,
}

impl Reads {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            queue: UniqueQueue::default(),
            started: 0,
            running: 0,
            backoff: Backoff::new(now),
        }
    }

    pub(super) fn push(&mut self, conversation: ConversationId) {
        self.queue.push(conversation);
    }

    /// Takes the next conversation to read, if another read may start now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ConversationId> {
        let may_start = self.running < MAX_READS && self.backoff.until() <= now;
        may_start.then(|| self.queue.pop()).flatten()
    }

    /// Returns the number of the next read.
    pub(super) fn next_number(&self) -> u64 {
        self.started + 1
    }

    pub(super) fn started(&mut self) {
        self.started += 1;
        self.running += 1;
    }

    pub(super) fn finished(&mut self) {
        self.running -= 1;
    }

    pub(super) fn succeeded(&mut self) {
        self.backoff.succeeded();
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.backoff.failed(now);
    }

    /// Returns the time at which a read can start, or `None` if there is nothing to read or
    /// [`MAX_READS`] reads are running.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let can_start = !self.queue.is_empty() && self.running < MAX_READS;
        can_start.then(|| self.backoff.until())
    }

    pub(super) fn remove_shard(&mut self, shard: FeedShard) {
        self.queue.remove_shard(shard);
    }

    /// Returns the number of conversations that have events to read.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}
