//! What waits for one conversation.

use std::collections::VecDeque;
use std::time::Instant;

use super::job::{Charge, Job, LaneWork, Reply, Work};
use crate::engine::config::EngineConfig;
use crate::engine::error::CommandError;
use crate::engine::message::Prepared;
use crate::model::ConversationKind;

/// A conversation's queue on this node. At most one transaction of it is under way.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: ConversationKind,
    queue: VecDeque<Job>,
    bytes: usize,
    pub(super) in_flight: bool,
}

/// What a lane does next.
pub(super) enum Next {
    /// A batch of appends.
    Batch(Vec<Queued>),
    /// Something else.
    Other(LaneWork, Reply, Charge),
}

/// A draft on its way into the store.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) draft: Prepared,
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
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.in_flight
    }

    /// Takes a job in, or refuses it because too much waits here.
    pub(super) fn push(&mut self, job: Job, config: &EngineConfig) {
        let bytes = job.charge.bytes();
        if self.queue.len() >= config.lane_drafts || self.bytes.saturating_add(bytes) > config.lane_bytes {
            job.refuse(CommandError::busy());
            return;
        }
        self.bytes += bytes;
        self.queue.push_back(job);
    }

    /// What to begin now, if anything.
    pub(super) fn next(&mut self, config: &EngineConfig) -> Option<Next> {
        if self.in_flight {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(job) = self.queue.front() {
            let size = match &job.work {
                Work::Other(_) if batch.is_empty() => 0,
                Work::Other(_) => break,
                Work::Append(draft, _) => draft.body.len(),
            };
            if batch.len() >= config.batch_drafts || (!batch.is_empty() && bytes + size > config.batch_bytes) {
                break;
            }
            bytes += size;
            let Some(job) = self.queue.pop_front() else { break };
            self.bytes -= job.charge.bytes();
            match job.work {
                Work::Other(work) => {
                    self.in_flight = true;
                    return Some(Next::Other(work, job.reply, job.charge));
                }
                Work::Append(draft, _) => batch.push(Queued {
                    draft: *draft,
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
        Some(Next::Batch(batch))
    }

    /// Answers everything that waits. After a send whose outcome is not known nothing later of the same conversation may
    /// overtake its retry.
    pub(super) fn fail(&mut self, error: &CommandError) {
        self.bytes = 0;
        for job in self.queue.drain(..) {
            job.refuse(error.clone());
        }
    }
}
