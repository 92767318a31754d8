//! Submissions to the appender: drafts of events to append, and changes of a group or of its
//! members. Both wait in the lane of the conversation (see the parent module), which runs them in
//! queue order.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::resend_order::DraftIdentity;
use crate::engine::directory::FoundConversation;
use crate::engine::error::CommandError;
use crate::engine::operations::message::QueuedDraft;
use crate::model::{Caller, ConversationRef, DeviceId, Draft, Origin, Outcome, UserId};
use crate::panics;
use crate::service::{CommandReply, CommandResult};

/// Key of a sender: the appender prepares the submissions of one sender one at a time. A device
/// keeps its key when it logs in again, so its old and its new session count as one sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SenderKey {
    Device(UserId, DeviceId),
    Application(UserId),
    Operator(UserId),
}

impl From<Caller> for SenderKey {
    fn from(caller: Caller) -> Self {
        match caller.origin {
            Origin::Device { device, .. } => Self::Device(caller.user, device),
            Origin::Application => Self::Application(caller.user),
            Origin::Operator => Self::Operator(caller.user),
        }
    }
}

/// Draft or change that a caller has submitted to the appender and that is not answered yet.
pub(super) struct Submission {
    pub(super) caller: Caller,
    /// Conversation as the sender named it.
    pub(super) conversation: ConversationRef,
    pub(super) payload: Payload,
    pub(super) reply_to: CommandReply,
    /// Time by which the preparation and, for a draft, the commit must have ended.
    pub(super) deadline: Instant,
    pub(super) permit: MemoryPermit,
}

/// Draft or change of a [`Submission`].
pub(super) enum Payload {
    /// Append a draft.
    Draft {
        draft: QueuedDraft,
        /// The draft as it was sent; `None` if no hooks have to see it, or once it was passed to
        /// them.
        for_hooks: Option<Box<Draft>>,
    },
    /// Run a change of the conversation that is not an append.
    Change {
        /// Check that has to pass before the change may enter its lane; `None` if there is none,
        /// or once it has started.
        check: Option<LaneCheck>,
        change: LaneChange,
    },
}

/// Change of a conversation other than an append, which runs alone in the conversation's lane.
pub(in crate::engine) type LaneChange =
    Box<dyn FnOnce(FoundConversation) -> BoxFuture<'static, Result<Outcome, CommandError>> + Send>;

/// Check of a [`LaneChange`] that may take long, such as a call to the application's hooks. It
/// runs outside the lane: later submissions of the same sender wait for it, but other submissions
/// to the conversation do not.
pub(in crate::engine) type LaneCheck =
    Box<dyn FnOnce(FoundConversation) -> BoxFuture<'static, Result<(), CommandError>> + Send>;

/// Answer to a submission, with the handle that sends it.
pub(super) type Reply = (CommandReply, CommandResult);

/// Sends a reply, if the caller still waits for it. The caller's waker runs here: a panic of the
/// waker is caught, so that other callers are not affected.
pub(super) fn answer((reply_to, result): Reply) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| reply_to.send(result))) {
        tracing::error!(
            panic = panics::text(&*panic),
            "the waker of a caller panicked when its command was answered"
        );
    }
}

impl Submission {
    pub(super) fn sender(&self) -> SenderKey {
        self.caller.into()
    }

    /// Returns the draft, or `None` for a change.
    pub(super) fn draft(&self) -> Option<&QueuedDraft> {
        match &self.payload {
            Payload::Draft { draft, .. } => Some(draft),
            Payload::Change { .. } => None,
        }
    }

    /// Returns the identity of the draft, or `None` for a change, which has no idempotency key by
    /// which a repetition could be recognised.
    pub(super) fn identity(&self) -> Option<DraftIdentity> {
        self.draft().map(|draft| DraftIdentity {
            caller: self.caller,
            conversation: self.conversation.clone(),
            id: draft.client_message_id,
        })
    }

    /// Returns `true` if hooks have to see the draft, or a check has to pass, before the submission
    /// may enter its lane.
    pub(super) fn needs_hooks_or_check(&self) -> bool {
        match &self.payload {
            Payload::Draft { for_hooks, .. } => for_hooks.is_some(),
            Payload::Change { check, .. } => check.is_some(),
        }
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("caller", &self.caller)
            .field("conversation", &self.conversation)
            .finish_non_exhaustive()
    }
}

/// Reservation of a part of the bytes that unanswered submissions may take on this node. Dropping
/// it returns the bytes.
#[derive(Debug)]
pub(super) struct MemoryPermit {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl MemoryPermit {
    /// Reserves `bytes`, or returns `None` if `used` would exceed `limit`.
    pub(super) fn reserve(used: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let permit = Self {
            used: Arc::clone(used),
            bytes,
        };
        // A permit that is dropped here returns its bytes.
        let total = used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        (total <= limit).then_some(permit)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
