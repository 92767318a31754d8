//! Lane: the queue of one conversation on this node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::resend_order::DraftIdentity;
use super::submission::{LaneChange, MemoryPermit, Payload, Submission};
use crate::engine::config::EngineConfig;
use crate::engine::operations::message::QueuedDraft;
use crate::model::ConversationKind;
use crate::service::CommandReply;

/// After a batch that contained a retry, this number of batches of the lane ask the store first
/// which of their drafts it has. Retries come in groups, and a retry in a batch that does not ask
/// costs a second run of the batch.
const LOOK_FIRST_BATCHES: u32 = 32;

/// Limits of the lanes, from the engine's configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    /// Maximum number of drafts in one transaction.
    pub(super) max_batch_drafts: usize,
    /// Maximum size of the bodies in one transaction, in bytes. A larger draft is committed alone.
    pub(super) max_batch_bytes: usize,
    /// Maximum number of submissions that wait in a lane.
    pub(super) max_queued_drafts_per_conversation: usize,
    /// Maximum size of the submissions that wait in a lane, in bytes.
    pub(super) max_queued_bytes_per_conversation: usize,
}

impl From<&EngineConfig> for LaneLimits {
    fn from(config: &EngineConfig) -> Self {
        Self {
            max_batch_drafts: config.max_batch_drafts,
            max_batch_bytes: config.max_batch_bytes,
            max_queued_drafts_per_conversation: config.max_queued_drafts_per_conversation,
            max_queued_bytes_per_conversation: config.max_queued_bytes_per_conversation,
        }
    }
}

/// A conversation's queue on this node, of which at most one batch or change is in flight.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: ConversationKind,
    queue: VecDeque<Box<Submission>>,
    /// Bytes of the queued submissions.
    bytes: usize,
    in_flight: Option<InFlight>,
    /// True if the lane is in `Lanes::ready`, the list of lanes that may have work to run.
    pub(super) is_listed: bool,
    /// Number of further batches that ask the store first which of their drafts it has.
    look_first_batches: u32,
}

/// Submissions of the batch or the change that is running.
#[derive(Debug)]
pub(super) enum InFlight {
    /// Drafts of one batch, in their order.
    Batch(Vec<SentDraft>),
    Change {
        reply_to: CommandReply,
        _permit: MemoryPermit,
    },
}

/// Draft of a batch in flight, with the data needed to answer its sender.
#[derive(Debug)]
pub(super) struct SentDraft {
    pub(super) identity: DraftIdentity,
    pub(super) reply_to: CommandReply,
    /// Reserves the memory of the draft until its reply is ready.
    _permit: MemoryPermit,
}

/// Next work of a lane.
pub(super) enum Next {
    Batch {
        drafts: Arc<[QueuedDraft]>,
        /// True if the transaction asks the store first which of the drafts it has.
        look_first: bool,
        deadline: Instant,
    },
    Change(LaneChange),
}

impl Lane {
    pub(super) fn new(kind: ConversationKind) -> Self {
        Self {
            kind,
            queue: VecDeque::new(),
            bytes: 0,
            in_flight: None,
            is_listed: false,
            look_first_batches: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_none()
    }

    /// Returns whether the lane has room for this submission.
    pub(super) fn has_room(&self, submission: &Submission, limits: &LaneLimits) -> bool {
        let bytes = self.bytes.saturating_add(submission.permit.bytes());
        self.queue.len() < limits.max_queued_drafts_per_conversation
            && bytes <= limits.max_queued_bytes_per_conversation
    }

    pub(super) fn push(&mut self, submission: Box<Submission>) {
        self.bytes += submission.permit.bytes();
        self.queue.push_back(submission);
    }

    /// Takes the work that may run now: a batch of drafts or one change. Returns `None` if the
    /// lane is empty, or while other work is in flight.
    pub(super) fn next(&mut self, limits: &LaneLimits) -> Option<Next> {
        if self.in_flight.is_some() {
            return None;
        }
        let count = self.batch_len(limits);
        let mut drafts = Vec::with_capacity(count);
        let mut sent = Vec::with_capacity(count);
        let mut earliest: Option<Instant> = None;
        for submission in self.queue.drain(..count) {
            self.bytes -= submission.permit.bytes();
            let Submission {
                caller,
                conversation,
                payload,
                reply_to,
                deadline,
                permit,
            } = *submission;
            match payload {
                Payload::Change { change, .. } => {
                    self.in_flight = Some(InFlight::Change {
                        reply_to,
                        _permit: permit,
                    });
                    return Some(Next::Change(change));
                }
                Payload::Draft { draft, .. } => {
                    sent.push(SentDraft {
                        identity: DraftIdentity {
                            caller,
                            conversation,
                            id: draft.client_message_id,
                        },
                        reply_to,
                        _permit: permit,
                    });
                    drafts.push(draft);
                    // The earliest deadline of the drafts is the deadline of the batch.
                    earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                }
            }
        }
        let deadline = earliest?;
        self.in_flight = Some(InFlight::Batch(sent));
        let look_first = self.look_first_batches > 0;
        self.look_first_batches = self.look_first_batches.saturating_sub(1);
        Some(Next::Batch {
            drafts: drafts.into(),
            look_first,
            deadline,
        })
    }

    /// Returns how many submissions at the front of the queue run together: drafts within the
    /// limits of a batch, or one change.
    fn batch_len(&self, limits: &LaneLimits) -> usize {
        let (mut count, mut bytes) = (0, 0);
        for submission in &self.queue {
            let Some(draft) = submission.draft() else {
                return count.max(1);
            };
            let size = draft.body.len();
            if count >= limits.max_batch_drafts || (count > 0 && bytes + size > limits.max_batch_bytes) {
                break;
            }
            bytes += size;
            count += 1;
        }
        count
    }

    /// Makes the next batches ask the store first which of their drafts it has, because a batch
    /// contained retries.
    pub(super) fn expect_retries(&mut self) {
        self.look_first_batches = LOOK_FIRST_BATCHES;
    }

    pub(super) fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Removes and returns the work in flight, because it has ended, or because its senders are
    /// answered without waiting for its end.
    pub(super) fn take_in_flight(&mut self) -> Option<InFlight> {
        self.in_flight.take()
    }

    pub(super) fn queued(&self) -> impl Iterator<Item = &Submission> {
        self.queue.iter().map(|submission| &**submission)
    }

    /// Removes and returns the queued submissions for which `selected` is true. The rest keeps its
    /// order.
    pub(super) fn remove_queued(&mut self, selected: impl Fn(&Submission) -> bool) -> Vec<Submission> {
        let mut removed = Vec::new();
        for submission in std::mem::take(&mut self.queue) {
            if selected(&submission) {
                self.bytes -= submission.permit.bytes();
                removed.push(*submission);
            } else {
                self.queue.push_back(submission);
            }
        }
        removed
    }
}
