//! [`Reads`]: which logs are read next, and how many at a time.

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
    /// Number of reads that began.
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

    /// Takes the next conversation to read, if another read may begin now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ConversationId> {
        let may_begin = self.running < MAX_READS && self.backoff.until() <= now;
        may_begin.then(|| self.queue.pop()).flatten()
    }

    /// Returns the number of the read that begins next.
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

    /// Returns when a read can begin, unless it has to wait for a running one.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let can_begin = !self.queue.is_empty() && self.running < MAX_READS;
        can_begin.then(|| self.backoff.until())
    }

    pub(super) fn remove_shard(&mut self, shard: FeedShard) {
        self.queue.remove_shard(shard);
    }

    /// Number of conversations that have events to read.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}
