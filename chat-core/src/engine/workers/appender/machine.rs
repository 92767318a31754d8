//! State machine of the appender. It keeps the order in which each sender submitted, queues the
//! submissions of each conversation in a lane, and returns the work that may run now. It does no
//! I/O, reads no clock and runs no futures.
//!
//! ```text
//! push ─► arrived ─┬─► preparing (unknown conversation, hooks or check) ── finish ─┐
//!                  └──────────────► lane of the conversation ◄─────────────────────┘
//!                                     └─► poll_work ─► in flight ─► finish ─► poll_reply
//! ```
//!
//! Every submission is in exactly one of these places at any time: a step decides about a
//! submission while it is still in its place, and then moves it. So [`Machine::abort`] finds all
//! submissions, even after a panic in the middle of a step.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::{LaneLimits, Next};
use super::lanes::{BatchResult, Lanes};
use super::queue::Incoming;
use super::resend_order::is_temporary;
use super::submission::{LaneChange, LaneCheck, Payload, Reply, SenderKey, Submission};
use crate::engine::directory::FoundConversation;
use crate::engine::error::CommandError;
use crate::engine::operations::message::QueuedDraft;
use crate::model::{Appended, Caller, ConversationId, ConversationRef, Draft, Outcome, ReplyCode, UserId};

/// Work for the driver to run. Each piece of work ends with one [`Done`].
pub(super) enum Work {
    Prepare(Box<Preparation>),
    /// Append drafts to a conversation in one transaction.
    Commit {
        found: FoundConversation,
        drafts: Arc<[QueuedDraft]>,
        /// True if some of the drafts are probably retries of stored ones, so that the store is
        /// asked for them first.
        look_first: bool,
        deadline: Instant,
    },
    /// Run a change of a conversation.
    Run {
        found: FoundConversation,
        change: LaneChange,
    },
}

/// A submission whose conversation has to be looked up, or which needs a check or hooks.
pub(super) struct Preparation {
    pub(super) sender: SenderKey,
    pub(super) caller: Caller,
    pub(super) conversation: ConversationRef,
    /// The draft, if the submission is one. A draft, unlike a change, opens a direct
    /// conversation that does not exist, and may have been stored before.
    pub(super) draft: Option<QueuedDraft>,
    /// The draft as it was sent, to show it to the hooks.
    pub(super) for_hooks: Option<Draft>,
    /// Check that has to pass before the change may enter its lane.
    pub(super) check: Option<LaneCheck>,
    /// Time at which the submission is refused if it is still being prepared.
    pub(super) deadline: Instant,
}

/// Result of a piece of [`Work`].
#[derive(Debug)]
pub(super) enum Done {
    /// A submission's conversation, and the draft if a hook rewrote it; or the error with which the
    /// submission is refused.
    Prepared {
        sender: SenderKey,
        result: Result<(FoundConversation, Option<QueuedDraft>), CommandError>,
    },
    /// A draft would be refused now, but it is a retry of a draft that was stored before, when
    /// there was no reason to refuse it.
    Stored { sender: SenderKey, appended: Appended },
    Committed {
        conversation: ConversationId,
        result: BatchResult,
    },
    Ran {
        conversation: ConversationId,
        result: Result<Outcome, CommandError>,
    },
}

/// Next step of an entry that has arrived.
#[derive(Debug)]
pub(super) enum Turn {
    /// Wait for the submission of the same sender that is being prepared.
    Wait,
    /// Drop the entry of a draft that was refused before it reached the queue: its place is
    /// recorded.
    Refused,
    /// Start preparing.
    Prepare,
    /// Enter the lane of this conversation, or be refused with the error.
    Enter(ConversationId, Result<(), CommandError>),
}

/// State machine of the appender, which the [module documentation](self) describes.
#[derive(Debug)]
pub(super) struct Machine {
    /// Entries whose next [turn](Turn) has not been taken.
    arrived: VecDeque<Incoming>,
    /// Senders of which a submission is being prepared.
    preparing: HashMap<SenderKey, Preparing>,
    /// Senders whose preparation has not been returned as work.
    to_prepare: VecDeque<SenderKey>,
    lanes: Lanes,
    replies: VecDeque<Reply>,
}

/// A submission that is being prepared.
#[derive(Debug)]
struct Preparing {
    submission: Box<Submission>,
    /// Later entries of the sender.
    waiting: VecDeque<Incoming>,
}

impl Machine {
    /// Creates a machine without submissions. `resend_window` is the time for which a refused draft
    /// that is not resent makes the machine refuse later drafts of the same session to the same
    /// conversation.
    pub(super) fn new(limits: LaneLimits, resend_window: Duration) -> Self {
        Self {
            arrived: VecDeque::new(),
            preparing: HashMap::new(),
            to_prepare: VecDeque::new(),
            lanes: Lanes::new(limits, resend_window),
            replies: VecDeque::new(),
        }
    }

    /// Adds an entry of the queue, behind those that were added before.
    pub(super) fn push(&mut self, incoming: Incoming) {
        self.arrived.push_back(incoming);
    }

    /// Returns the next piece of work, if any may run now. All pushed entries are processed first,
    /// so that batches become as large as possible.
    ///
    /// `cached` returns the conversation that a user refers to, if it is cached.
    pub(super) fn poll_work(
        &mut self,
        now: Instant,
        cached: impl Fn(UserId, &ConversationRef) -> Option<FoundConversation>,
    ) -> Option<Work> {
        while let Some(turn) = self.decide(now, &cached) {
            self.take_turn(turn, now);
        }
        if let Some(preparation) = self.next_preparation() {
            return Some(Work::Prepare(Box::new(preparation)));
        }
        let (found, next) = self.lanes.next()?;
        Some(match next {
            Next::Batch {
                drafts,
                look_first,
                deadline,
            } => Work::Commit {
                found,
                drafts,
                look_first,
                deadline,
            },
            Next::Change(change) => Work::Run { found, change },
        })
    }

    /// Handles the result of a piece of work. The result of [aborted](Self::abort) work is ignored.
    pub(super) fn finish(&mut self, now: Instant, done: Done) {
        match done {
            Done::Prepared { sender, result } => self.finish_preparation(sender, result, now),
            Done::Stored { sender, appended } => self.answer_stored(sender, appended),
            Done::Committed { conversation, result } => {
                self.lanes.finish_batch(conversation, result, now, &mut self.replies);
            }
            Done::Ran { conversation, result } => self.lanes.finish_change(conversation, result, &mut self.replies),
        }
    }

    /// Returns the next reply to send. The state was updated before: if the reply makes a client
    /// resend a draft, the draft's place is recorded already.
    pub(super) fn poll_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// Refuses every submission with `TryAgain`. The refused drafts keep their places: until they
    /// have been resent, or the resend window has passed, later drafts of the same session to the
    /// same conversation are refused. All work must have ended before
    /// [`poll_work`](Self::poll_work) is called again.
    pub(super) fn abort(&mut self, now: Instant) {
        let error = CommandError::try_again();
        self.lanes.record_all_refused(&error, now);
        for preparing in self.preparing.values() {
            record_refused(&mut self.lanes, &preparing.submission, &error, now);
            for incoming in &preparing.waiting {
                record_refused_entry(&mut self.lanes, incoming, &error, now);
            }
        }
        for incoming in &self.arrived {
            record_refused_entry(&mut self.lanes, incoming, &error, now);
        }
        self.to_prepare.clear();
        self.lanes.refuse_all(&error, &mut self.replies);
        for preparing in std::mem::take(&mut self.preparing).into_values() {
            self.refuse(*preparing.submission, error.clone());
            self.refuse_all(preparing.waiting, &error);
        }
        let arrived = std::mem::take(&mut self.arrived);
        self.refuse_all(arrived, &error);
    }

    /// Decides the next step of the entry at the front of `arrived`, if there is one, and records
    /// the place of a refused draft in the order of resends. The entry stays there, and keeps its
    /// place in the order of its sender, until [`take_turn`](Self::take_turn).
    pub(super) fn decide(
        &mut self,
        now: Instant,
        cached: impl Fn(UserId, &ConversationRef) -> Option<FoundConversation>,
    ) -> Option<Turn> {
        let incoming = self.arrived.front()?;
        if self.preparing.contains_key(&incoming.sender()) {
            return Some(Turn::Wait);
        }
        let submission = match incoming {
            Incoming::Refused(draft) => {
                self.lanes.record_refused(draft, &CommandError::busy(), now);
                return Some(Turn::Refused);
            }
            Incoming::Submission(submission) if submission.needs_hooks_or_check() => return Some(Turn::Prepare),
            Incoming::Submission(submission) => submission,
        };
        let Some(found) = cached(submission.caller.user, &submission.conversation) else {
            return Some(Turn::Prepare);
        };
        let admitted = self.lanes.admit(submission, &found, now);
        Some(Turn::Enter(found.id, admitted))
    }

    /// Moves the entry at the front of `arrived` as [`decide`](Self::decide) has decided.
    fn take_turn(&mut self, turn: Turn, now: Instant) {
        match turn {
            Turn::Wait => self.wait_for_preparation(),
            Turn::Refused => drop(self.arrived.pop_front()),
            Turn::Prepare => self.prepare_arrived(),
            Turn::Enter(id, admitted) => {
                if let Some(Incoming::Submission(submission)) = self.arrived.pop_front() {
                    self.enter(id, submission, admitted, now);
                }
            }
        }
    }

    /// Moves the submission at the front of `arrived` into preparation.
    fn prepare_arrived(&mut self) {
        if let Some(Incoming::Submission(submission)) = self.arrived.pop_front() {
            let sender = submission.sender();
            let waiting = VecDeque::new();
            self.preparing.insert(sender, Preparing { submission, waiting });
            self.to_prepare.push_back(sender);
        }
    }

    /// Moves the entry at the front of `arrived` behind the submission of its sender that is being
    /// prepared. A refused draft waits there too: it comes after the earlier drafts of its sender.
    fn wait_for_preparation(&mut self) {
        if let Some(incoming) = self.arrived.pop_front()
            && let Some(preparing) = self.preparing.get_mut(&incoming.sender())
        {
            preparing.waiting.push_back(incoming);
        }
    }

    /// Returns the next preparation to start. The draft for the hooks, or the check, moves out of
    /// the submission.
    fn next_preparation(&mut self) -> Option<Preparation> {
        let sender = self.to_prepare.pop_front()?;
        let submission = &mut self.preparing.get_mut(&sender)?.submission;
        let (draft, for_hooks, check) = match &mut submission.payload {
            Payload::Draft { draft, for_hooks } => {
                let for_hooks = for_hooks.take().map(|original| *original);
                (Some(draft.clone()), for_hooks, None)
            }
            Payload::Change { check, .. } => (None, None, check.take()),
        };
        Some(Preparation {
            sender,
            caller: submission.caller,
            conversation: submission.conversation.clone(),
            draft,
            for_hooks,
            check,
            deadline: submission.deadline,
        })
    }

    /// Handles the result of a preparation: the submission enters its lane or is refused. The
    /// entries of its sender that waited for it get their turn, or are refused too if the
    /// preparation has failed with a temporary error.
    fn finish_preparation(
        &mut self,
        sender: SenderKey,
        result: Result<(FoundConversation, Option<QueuedDraft>), CommandError>,
        now: Instant,
    ) {
        let Some(preparing) = self.preparing.get(&sender) else {
            return;
        };
        let (found, rewritten) = match result {
            Ok(prepared) => prepared,
            Err(error) if is_temporary(&error) => return self.refuse_sender(sender, error, now),
            Err(error) => {
                if let Some(submission) = self.release(sender) {
                    self.lanes.forget(&submission);
                    self.refuse(*submission, error);
                }
                return;
            }
        };
        let admitted = self.lanes.admit(&preparing.submission, &found, now);
        if let Some(mut submission) = self.release(sender) {
            if let (Payload::Draft { draft, .. }, Some(rewritten)) = (&mut submission.payload, rewritten) {
                *draft = rewritten;
            }
            self.enter(found.id, submission, admitted, now);
        }
    }

    /// Answers a submission whose draft was stored before.
    fn answer_stored(&mut self, sender: SenderKey, appended: Appended) {
        if let Some(submission) = self.release(sender) {
            self.lanes.forget(&submission);
            self.replies
                .push_back((submission.reply_to, Ok(Outcome::Appended(appended))));
        }
    }

    /// Puts a submission into its lane if it was admitted, and refuses it otherwise.
    fn enter(
        &mut self,
        id: ConversationId,
        submission: Box<Submission>,
        admitted: Result<(), CommandError>,
        now: Instant,
    ) {
        match admitted {
            Ok(()) => self.lanes.push(id, submission, now),
            Err(error) => self.refuse(*submission, error),
        }
    }

    /// Ends a sender's preparation, and moves the entries that waited for it to the front of
    /// `arrived`.
    fn release(&mut self, sender: SenderKey) -> Option<Box<Submission>> {
        let Preparing { submission, waiting } = self.preparing.remove(&sender)?;
        for incoming in waiting.into_iter().rev() {
            self.arrived.push_front(incoming);
        }
        Some(submission)
    }

    /// Temporarily refuses a submission that could not be prepared, and the entries of its sender
    /// that waited for it.
    fn refuse_sender(&mut self, sender: SenderKey, error: CommandError, now: Instant) {
        // An internal error is reported only for the submission that caused it: a client gives up a
        // draft that repeatedly causes one.
        let later = match error.code {
            ReplyCode::Internal => CommandError::try_again(),
            _ => error.clone(),
        };
        if let Some(preparing) = self.preparing.get(&sender) {
            record_refused(&mut self.lanes, &preparing.submission, &error, now);
            for incoming in &preparing.waiting {
                record_refused_entry(&mut self.lanes, incoming, &later, now);
            }
        }
        if let Some(preparing) = self.preparing.remove(&sender) {
            self.refuse(*preparing.submission, error);
            self.refuse_all(preparing.waiting, &later);
        }
    }

    /// Refuses the submissions among these entries.
    fn refuse_all(&mut self, incoming: VecDeque<Incoming>, error: &CommandError) {
        for incoming in incoming {
            if let Incoming::Submission(submission) = incoming {
                self.refuse(*submission, error.clone());
            }
        }
    }

    /// Refuses a submission.
    fn refuse(&mut self, submission: Submission, error: CommandError) {
        self.replies.push_back((submission.reply_to, Err(error)));
    }
}

/// Records the place of a submission that is refused before it was admitted, if it is a draft.
fn record_refused(lanes: &mut Lanes, submission: &Submission, error: &CommandError, now: Instant) {
    if let Some(draft) = submission.identity() {
        lanes.record_refused(&draft, error, now);
    }
}

/// Records the place of an entry that is being refused, or was refused before it reached the queue.
fn record_refused_entry(lanes: &mut Lanes, incoming: &Incoming, error: &CommandError, now: Instant) {
    match incoming {
        Incoming::Refused(draft) => lanes.record_refused(draft, error, now),
        Incoming::Submission(submission) => record_refused(lanes, submission, error, now),
    }
}
