//! What waits for one conversation.

use std::collections::VecDeque;
use std::time::Instant;

use super::holds::Refused;
use super::job::{Charge, Job, LaneWork, Reply, Work};
use crate::engine::config::EngineConfig;
use crate::engine::error::CommandError;
use crate::engine::message::Prepared;
use crate::model::{Caller, ConversationKind, ConversationRef};

/// A conversation's queue on this node. At most one transaction of it is under way.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: ConversationKind,
    queue: VecDeque<Job>,
    bytes: usize,
    pub(super) in_flight: bool,
    /// So many batches more are to look first whether their drafts are stored.
    looks: u32,
}

/// Batches that look first after one that held a retry: where one comes, more do, and each that comes unlooked for costs a second run.
const LOOKS: u32 = 32;

/// What a lane does next.
pub(super) enum Next {
    /// A batch of appends; whether to look first if they are stored.
    Batch(Vec<Queued>, bool),
    /// Something else.
    Other(LaneWork, Reply, Charge),
}

/// A draft on its way into the store.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) draft: Prepared,
    /// As its sender called it.
    pub(super) conversation: ConversationRef,
    pub(super) reply: Reply,
    pub(super) deadline: Instant,
    pub(super) charge: Charge,
}

impl Lane {
    pub(super) fn new(kind: ConversationKind) -> Self {
        Self {
            kind,
            queue: VecDeque::new(),
            bytes: 0,
            in_flight: false,
            looks: 0,
        }
    }

    /// A batch held drafts that were stored before.
    pub(super) fn expect_retries(&mut self) {
        self.looks = LOOKS;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.in_flight
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self, job: &Job, config: &EngineConfig) -> bool {
        self.queue.len() < config.max_lane_drafts
            && self.bytes.saturating_add(job.charge.bytes()) <= config.max_lane_bytes
    }

    pub(super) fn push(&mut self, job: Job) {
        self.bytes += job.charge.bytes();
        self.queue.push_back(job);
    }

    /// What to begin now, if anything.
    pub(super) fn next(&mut self, config: &EngineConfig) -> Option<Next> {
        if self.in_flight {
            return None;
        }
        // Nothing is taken before it is known how much: a panic leaves it all in the queue.
        let count = self.batch_len(config);
        let mut batch = Vec::with_capacity(count);
        for job in self.queue.drain(..count) {
            self.bytes -= job.charge.bytes();
            match job.work {
                Work::Other(work) => {
                    self.in_flight = true;
                    return Some(Next::Other(work, job.reply, job.charge));
                }
                Work::Append(draft, _) => batch.push(Queued {
                    draft: *draft,
                    conversation: job.conversation,
                    reply: job.reply,
                    deadline: job.deadline,
                    charge: job.charge,
                }),
            }
        }
        if batch.is_empty() {
            return None;
        }
        self.in_flight = true;
        let look_first = self.looks > 0;
        self.looks = self.looks.saturating_sub(1);
        Some(Next::Batch(batch, look_first))
    }

    /// How many of those that wait go together: drafts, or one of anything else.
    fn batch_len(&self, config: &EngineConfig) -> usize {
        let (mut count, mut bytes) = (0, 0);
        for job in &self.queue {
            let size = match &job.work {
                Work::Other(_) => return count.max(1),
                Work::Append(draft, _) => draft.body.len(),
            };
            if count >= config.max_batch_drafts || (count > 0 && bytes + size > config.max_batch_bytes) {
                break;
            }
            bytes += size;
            count += 1;
        }
        count
    }

    /// Refuses everything that waits; yields what it was, in its order.
    pub(super) fn fail(&mut self, error: &CommandError) -> Vec<(Refused, CommandError)> {
        self.refuse_if(error, |_| true)
    }

    /// Refuses the drafts of these sessions that wait.
    pub(super) fn fail_sessions(&mut self, error: &CommandError, sessions: &[Caller]) -> Vec<(Refused, CommandError)> {
        self.refuse_if(error, |job| {
            matches!(job.work, Work::Append(..)) && sessions.contains(&job.caller)
        })
    }

    fn refuse_if(&mut self, error: &CommandError, wrong: impl Fn(&Job) -> bool) -> Vec<(Refused, CommandError)> {
        let mut refused = Vec::new();
        for job in std::mem::take(&mut self.queue) {
            if wrong(&job) {
                self.bytes -= job.charge.bytes();
                refused.extend(job.as_refused().map(|draft| (draft, error.clone())));
                job.refuse(error.clone());
            } else {
                self.queue.push_back(job);
            }
        }
        refused
    }
}
