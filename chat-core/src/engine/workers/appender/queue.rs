//! Queue between the sessions and the appender's task.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use super::resend_order::DraftIdentity;
use super::submission::{LaneChange, LaneCheck, MemoryPermit, Payload, SenderKey, Submission, answer};
use crate::engine::error::CommandError;
use crate::engine::operations::message::QueuedDraft;
use crate::model::{Caller, ConversationRef, Draft};
use crate::service::CommandFuture;
use crate::sync::{Mutex, MutexGuard};

/// Bytes by which a change counts against the limit of the queue: an estimate of its memory.
const CHANGE_BYTES: usize = 1024;
/// Length at which the queue records no further places of refused drafts, so that the order of the
/// drafts that are refused then is not enforced.
const MAX_LEN_TO_RECORD_REFUSED: usize = 65_536;

/// Entry of the queue. Its position is its place in the order of its sender.
#[derive(Debug)]
pub(super) enum Incoming {
    Submission(Box<Submission>),
    /// A draft that was refused before it reached the queue.
    Refused(Box<DraftIdentity>),
}

impl Incoming {
    pub(super) fn sender(&self) -> SenderKey {
        let caller = match self {
            Self::Submission(submission) => submission.caller,
            Self::Refused(draft) => draft.caller,
        };
        caller.into()
    }
}

/// Queue in front of the appender. The bytes of all unanswered submissions, including those that
/// have left the queue, are bounded (`EngineConfig::max_queued_bytes`). Submissions that do not fit
/// are refused as busy.
#[derive(Debug)]
pub(in crate::engine) struct AppendQueue {
    /// `None` once the queue is closed.
    incoming: Mutex<Option<Vec<Incoming>>>,
    arrived: Notify,
    /// Bytes of all unanswered submissions. Each submission has a permit, which returns its bytes.
    used: Arc<AtomicUsize>,
    max_bytes: usize,
}

impl AppendQueue {
    /// Creates a queue for at most `max_bytes` of unanswered submissions.
    pub(in crate::engine) fn new(max_bytes: usize) -> Self {
        Self {
            incoming: Mutex::new(Some(Vec::new())),
            arrived: Notify::new(),
            used: Arc::default(),
            max_bytes,
        }
    }

    /// Queues a draft. Its place in its sender's order is fixed when this returns; the future
    /// yields the outcome. Dropping the future does not withdraw the draft. A draft that does not
    /// fit is refused as busy, and its place is [recorded](Self::record_refused).
    ///
    /// `for_hooks` is the draft as it was sent, if hooks have to see it.
    pub(in crate::engine) fn submit_draft(
        &self,
        draft: QueuedDraft,
        for_hooks: Option<Draft>,
        conversation: ConversationRef,
        deadline: Instant,
    ) -> CommandFuture {
        let caller = draft.caller;
        match MemoryPermit::reserve(&self.used, draft.cost(), self.max_bytes) {
            Some(permit) => {
                let for_hooks = for_hooks.map(Box::new);
                let payload = Payload::Draft { draft, for_hooks };
                self.submit(caller, conversation, payload, permit, deadline)
            }
            None => {
                self.record_refused(DraftIdentity {
                    caller,
                    conversation,
                    id: draft.client_message_id,
                });
                CommandFuture::ready(Err(CommandError::busy()))
            }
        }
    }

    /// Queues a change of a conversation, as [`submit_draft`](Self::submit_draft) does for a draft,
    /// except that the place of a change that does not fit is not recorded. If there is a `check`,
    /// the change runs only after the check has passed.
    pub(in crate::engine) fn submit_change(
        &self,
        caller: Caller,
        conversation: ConversationRef,
        check: Option<LaneCheck>,
        change: LaneChange,
        deadline: Instant,
    ) -> CommandFuture {
        match MemoryPermit::reserve(&self.used, CHANGE_BYTES, self.max_bytes) {
            Some(permit) => {
                let payload = Payload::Change { check, change };
                self.submit(caller, conversation, payload, permit, deadline)
            }
            None => CommandFuture::ready(Err(CommandError::busy())),
        }
    }

    /// Records the place of a draft that is about to be refused temporarily, so that later drafts
    /// of its session to the same conversation do not overtake it. Does nothing if the queue is
    /// closed or too long.
    pub(in crate::engine) fn record_refused(&self, draft: DraftIdentity) {
        let mut queue = self.lock();
        if let Some(incoming) = queue.as_mut()
            && incoming.len() < MAX_LEN_TO_RECORD_REFUSED
        {
            incoming.push(Incoming::Refused(Box::new(draft)));
            let is_first = incoming.len() == 1;
            drop(queue);
            if is_first {
                self.arrived.notify_one();
            }
        }
    }

    /// Queues a submission, or refuses it if the queue is closed, and returns the future of its
    /// outcome.
    fn submit(
        &self,
        caller: Caller,
        conversation: ConversationRef,
        payload: Payload,
        permit: MemoryPermit,
        deadline: Instant,
    ) -> CommandFuture {
        let (reply_to, outcome) = CommandFuture::channel();
        let submission = Box::new(Submission {
            caller,
            conversation,
            payload,
            reply_to,
            deadline,
            permit,
        });
        let mut queue = self.lock();
        if let Some(incoming) = queue.as_mut() {
            incoming.push(Incoming::Submission(submission));
            let is_first = incoming.len() == 1;
            drop(queue);
            if is_first {
                self.arrived.notify_one();
            }
        } else {
            drop(queue);
            refuse_closed(*submission);
        }
        outcome
    }

    /// Moves all queued entries to `taken`, which has to be empty. The queue continues with the
    /// allocation of `taken`.
    pub(super) fn take(&self, taken: &mut Vec<Incoming>) {
        debug_assert!(taken.is_empty(), "entries would lose their place");
        if let Some(incoming) = self.lock().as_mut() {
            std::mem::swap(incoming, taken);
        }
    }

    /// Closes the queue if it is empty. Returns whether it is closed now.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut queue = self.lock();
        let is_empty = queue.as_ref().is_none_or(Vec::is_empty);
        if is_empty {
            *queue = None;
        }
        is_empty
    }

    /// Closes the queue: refuses all queued submissions, and all later ones.
    pub(in crate::engine) fn close(&self) {
        let incoming = self.lock().take();
        for entry in incoming.unwrap_or_default() {
            if let Incoming::Submission(submission) = entry {
                refuse_closed(*submission);
            }
        }
    }

    /// Waits until an entry has arrived in the empty queue since the last call;
    /// [`take`](Self::take) may have taken it already. Cancel safe: an arrival is reported to the
    /// next call.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Returns the bytes of all unanswered submissions.
    pub(in crate::engine) fn queued_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Incoming>>> {
        self.incoming.lock()
    }
}

fn refuse_closed(submission: Submission) {
    answer((submission.reply_to, Err(CommandError::shutting_down())));
}
