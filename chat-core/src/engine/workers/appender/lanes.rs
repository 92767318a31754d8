//! The lanes of all conversations, and the order of resends, which is checked before a submission
//! enters a lane.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::lane::{InFlight, Lane, LaneLimits, Next};
use super::resend_order::{DraftIdentity, ResendOrder, is_temporary};
use super::submission::{Reply, Submission};
use crate::engine::directory::FoundConversation;
use crate::engine::error::CommandError;
use crate::model::{Appended, Caller, ConversationId, Outcome, ReplyCode};

/// Outcome of a batch: one result for each draft, or one failure for all.
pub(super) type BatchResult = Result<Vec<Result<Appended, CommandError>>, CommandError>;

/// Lanes by conversation. [`next`](Self::next) removes a lane that has neither queued submissions
/// nor work in flight.
#[derive(Debug)]
pub(super) struct Lanes {
    limits: LaneLimits,
    lanes: HashMap<ConversationId, Lane>,
    /// Lanes that may have work to run.
    ready: VecDeque<ConversationId>,
    resend_order: ResendOrder,
}

impl Lanes {
    pub(super) fn new(limits: LaneLimits, resend_window: Duration) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            resend_order: ResendOrder::new(resend_window),
        }
    }

    /// Decides whether a submission may enter its lane. An admitted submission must be
    /// [pushed](Self::push) next, and keeps its place in the resend order until then. The place of
    /// a refused draft is recorded in the resend order.
    pub(super) fn admit(
        &mut self,
        submission: &Submission,
        found: &FoundConversation,
        now: Instant,
    ) -> Result<(), CommandError> {
        if let Some(draft) = submission.draft() {
            let conversation = (&submission.conversation, found.id);
            let (caller, id) = (submission.caller, draft.client_message_id);
            self.resend_order.check(caller, conversation, id, now)?;
        }
        let new_lane = || Lane::new(found.kind.clone());
        let lane = self.lanes.entry(found.id).or_insert_with(new_lane);
        if lane.has_room(submission, &self.limits) {
            return Ok(());
        }
        let error = CommandError::busy();
        let refused = submission.identity().map(|draft| (draft, error.clone()));
        self.resend_order.record_first(Vec::from_iter(refused), found.id, now);
        self.set_ready(found.id);
        Err(error)
    }

    /// Puts a submission that was just [admitted](Self::admit) into its lane.
    pub(super) fn push(&mut self, id: ConversationId, submission: Box<Submission>, now: Instant) {
        let has_gaps = !self.resend_order.is_empty();
        let entering = has_gaps.then(|| submission.identity()).flatten();
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.push(submission);
        }
        if let Some(draft) = entering {
            self.resend_order.entered_lane(&draft, id, now);
        }
        self.set_ready(id);
    }

    /// Records that a draft was refused before it was admitted. Unless the draft has a place
    /// already, its place is after all drafts that its session has to resend to the conversation.
    pub(super) fn record_refused(&mut self, draft: &DraftIdentity, error: &CommandError, now: Instant) {
        self.resend_order.record_last(draft, error, now);
    }

    /// Forgets a draft that will not be resent, because it was refused permanently before it was
    /// admitted, or answered as stored before.
    pub(super) fn forget(&mut self, submission: &Submission) {
        if let Some(draft) = submission.draft() {
            self.resend_order.forget(submission.caller, draft.client_message_id);
        }
    }

    /// Takes the next work of a lane, if any lane has work.
    pub(super) fn next(&mut self) -> Option<(FoundConversation, Next)> {
        while let Some(id) = self.ready.pop_front() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.is_listed = false;
            if let Some(next) = lane.next(&self.limits) {
                let kind = lane.kind.clone();
                return Some((FoundConversation { id, kind }, next));
            }
            if lane.is_idle() {
                self.lanes.remove(&id);
            }
        }
        None
    }

    /// Handles the result of a conversation's batch.
    ///
    /// If the whole batch failed, with any error but an internal one, everything that waits in the
    /// lane is refused too. Otherwise, a temporary refusal of drafts also refuses the drafts of the
    /// same sessions that wait in the lane.
    pub(super) fn finish_batch(
        &mut self,
        id: ConversationId,
        result: BatchResult,
        now: Instant,
        replies: &mut VecDeque<Reply>,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(InFlight::Batch(sent)) = lane.in_flight() else {
            return;
        };
        let (results, failure) = result.map_or_else(|error| (Vec::new(), Some(error)), |results| (results, None));
        // Error of the drafts that have no result.
        let missing = match &failure {
            None if results.len() < sent.len() => CommandError::defect("a batch has fewer results than drafts"),
            failure => failure.clone().unwrap_or_else(CommandError::internal),
        };
        let error_at = |index| match results.get(index) {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(error),
            None => Some(&missing),
        };
        let mut refused = Vec::new();
        for (index, sent) in sent.iter().enumerate() {
            if let Some(error) = error_at(index).filter(|error| is_temporary(error)) {
                refused.push((sent.identity.clone(), error.clone()));
            }
        }
        // An internal error that one draft causes must not refuse the drafts of other sessions.
        let failure = failure.filter(|error| error.code != ReplyCode::Internal);
        let sessions: Vec<Caller> = refused.iter().map(|(draft, _)| draft.caller).collect();
        let is_refused = |submission: &Submission| match failure {
            Some(_) => true,
            None => submission.draft().is_some() && sessions.contains(&submission.caller),
        };
        let waiting_error = failure.clone().unwrap_or_else(CommandError::try_again);
        let must_refuse_waiting = failure.is_some() || !sessions.is_empty();
        if must_refuse_waiting {
            let waiting = lane.queued().filter(|submission| is_refused(submission));
            let waiting = waiting.filter_map(Submission::identity);
            refused.extend(waiting.map(|draft| (draft, waiting_error.clone())));
            self.resend_order.record_first(refused, id, now);
        }

        if results.iter().flatten().any(|appended| appended.duplicate) {
            lane.expect_retries();
        }
        // Drafts are answered only after the order of resends is recorded.
        let mut results = results.into_iter();
        if let Some(InFlight::Batch(sent)) = lane.take_in_flight() {
            for sent in sent {
                let result = results.next().unwrap_or_else(|| Err(missing.clone()));
                replies.push_back((sent.reply_to, result.map(Outcome::Appended)));
            }
        }
        if must_refuse_waiting {
            for submission in lane.remove_queued(is_refused) {
                replies.push_back((submission.reply_to, Err(waiting_error.clone())));
            }
        }
        self.set_ready(id);
    }

    /// Handles the result of a conversation's change.
    pub(super) fn finish_change(
        &mut self,
        id: ConversationId,
        result: Result<Outcome, CommandError>,
        replies: &mut VecDeque<Reply>,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if let Some(InFlight::Change { .. }) = lane.in_flight()
            && let Some(InFlight::Change { reply_to, .. }) = lane.take_in_flight()
        {
            replies.push_back((reply_to, result));
            self.set_ready(id);
        }
    }

    /// Records the places of all drafts in all lanes, which are about to be refused.
    pub(super) fn record_all_refused(&mut self, error: &CommandError, now: Instant) {
        for (id, lane) in &self.lanes {
            let in_flight = match lane.in_flight() {
                Some(InFlight::Batch(sent)) => sent.as_slice(),
                Some(InFlight::Change { .. }) | None => &[],
            };
            let in_flight = in_flight.iter().map(|sent| sent.identity.clone());
            let drafts = in_flight.chain(lane.queued().filter_map(Submission::identity));
            let drafts = drafts.map(|draft| (draft, error.clone())).collect();
            self.resend_order.record_first(drafts, *id, now);
        }
    }

    /// Refuses everything in all lanes. [`record_all_refused`](Self::record_all_refused) must be
    /// called before.
    pub(super) fn refuse_all(&mut self, error: &CommandError, replies: &mut VecDeque<Reply>) {
        self.ready.clear();
        for mut lane in std::mem::take(&mut self.lanes).into_values() {
            match lane.take_in_flight() {
                Some(InFlight::Batch(sent)) => {
                    replies.extend(sent.into_iter().map(|sent| (sent.reply_to, Err(error.clone()))));
                }
                Some(InFlight::Change { reply_to, .. }) => replies.push_back((reply_to, Err(error.clone()))),
                None => {}
            }
            let queued = lane.remove_queued(|_| true);
            replies.extend(
                queued
                    .into_iter()
                    .map(|submission| (submission.reply_to, Err(error.clone()))),
            );
        }
    }

    fn set_ready(&mut self, id: ConversationId) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && !lane.is_listed
        {
            lane.is_listed = true;
            self.ready.push_back(id);
        }
    }
}
