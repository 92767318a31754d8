//! Order of resends: after a draft was temporarily refused, later drafts of its session to the same
//! conversation are refused until it has been resent. A client with several drafts in flight
//! receives the refusal late. Without this module, the drafts sent after the refused one would be
//! stored, and the resent draft would follow them. So they are refused too, until the refused
//! drafts have arrived again in their original order. This protects only the order of drafts in
//! flight: a client that gives the refused draft up can send others once
//! `EngineConfig::resend_window` has passed.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::engine::error::CommandError;
use crate::model::{Caller, ClientMessageId, ConversationId, ConversationRef, ReplyCode};

/// Maximum number of [gaps](Gap). A gap takes about 300 bytes, and 16 more for each draft beyond
/// the first few. Drafts of further gaps may be stored out of order.
const MAX_GAPS: usize = 16_384;
/// Maximum number of refused drafts remembered in a gap: the default number of drafts that may wait
/// in a lane. Further drafts are refused, and later accepted in the order in which they arrive
/// again.
const MAX_GAP_DRAFTS: usize = 512;
/// Minimum interval between two searches for expired gaps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Fields of a draft that identify it when it is resent after a refusal.
#[derive(Clone, Debug)]
pub(in crate::engine) struct DraftIdentity {
    pub(in crate::engine) caller: Caller,
    /// Conversation as the sender named it.
    pub(in crate::engine) conversation: ConversationRef,
    pub(in crate::engine) id: ClientMessageId,
}

/// Returns whether a command refused with this error is expected to be sent again in the same
/// session. Later drafts of the session to the same conversation have to wait for such a draft.
pub(in crate::engine) fn is_temporary(error: &CommandError) -> bool {
    matches!(error.code, ReplyCode::Busy | ReplyCode::TryAgain | ReplyCode::Internal)
}

/// Gaps of all sessions.
#[derive(Debug)]
pub(super) struct ResendOrder {
    sessions: HashMap<Caller, Vec<Gap>>,
    /// Number of gaps in `sessions`.
    count: usize,
    /// Time after which a gap is removed if its first draft was not resent.
    window: Duration,
    last_sweep: Option<Instant>,
}

/// Gap in the order of one session's drafts to one conversation: refused drafts that have not been
/// resent.
#[derive(Debug)]
struct Gap {
    conversation: ConversationRef,
    /// Id of the conversation, once it is known.
    id: Option<ConversationId>,
    /// The refused drafts, in the order in which they were sent. Never empty.
    drafts: VecDeque<ClientMessageId>,
    /// True if one of the drafts may have been stored nevertheless.
    outcome_unknown: bool,
    /// Time from which the gap has no effect. It moves when the first of the drafts enters its lane
    /// or is refused again, and when a refused draft is put first.
    expires: Instant,
}

impl Gap {
    fn is_in(&self, conversation: &ConversationRef, id: Option<ConversationId>) -> bool {
        (id.is_some() && self.id == id) || self.conversation == *conversation
    }

    /// Returns the error for a draft that arrives before the gap is closed.
    fn error(&self) -> CommandError {
        let (code, text) = if self.outcome_unknown {
            (
                ReplyCode::TryAgain,
                "an earlier message was refused; send that one again first. It may or may not have been stored",
            )
        } else {
            (
                ReplyCode::Busy,
                "an earlier message was refused; send that one again first. Nothing was done",
            )
        };
        CommandError::new(code, text).retry_after(Duration::from_secs(1))
    }

    /// Adds a draft behind the others, unless it is in the gap already or the gap is full.
    fn push_back(&mut self, id: ClientMessageId) {
        if self.drafts.len() < MAX_GAP_DRAFTS && !self.drafts.contains(&id) {
            self.drafts.push_back(id);
        }
    }
}

impl ResendOrder {
    /// Creates an order without gaps. A gap whose first draft is not resent within `window` is
    /// forgotten.
    pub(super) fn new(window: Duration) -> Self {
        Self {
            sessions: HashMap::new(),
            count: 0,
            window,
            last_sweep: None,
        }
    }

    /// Returns whether no draft has to be resent.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Decides whether a draft that has arrived is admitted. An admitted draft keeps its place
    /// until it has [entered its lane](Self::entered_lane). Another draft gets a place behind the
    /// others of its gap, unless it has one already.
    ///
    /// # Errors
    /// An earlier draft of the session has to be resent to the conversation first.
    pub(super) fn check(
        &mut self,
        caller: Caller,
        (conversation, id): (&ConversationRef, ConversationId),
        draft: ClientMessageId,
        now: Instant,
    ) -> Result<(), CommandError> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(gaps) = self.sessions.get_mut(&caller) else {
            return Ok(());
        };
        let mut found = gaps.iter_mut().enumerate();
        let Some((index, gap)) = found.find(|(_, gap)| gap.is_in(conversation, Some(id))) else {
            return Ok(());
        };
        gap.id = Some(id);
        if now >= gap.expires {
            self.remove_gap(caller, index);
        } else if gap.drafts.front() != Some(&draft) {
            gap.push_back(draft);
            return Err(gap.error());
        }
        Ok(())
    }

    /// Removes a draft that has entered its lane, so that the next draft of its gap may enter
    /// within the window.
    pub(super) fn entered_lane(&mut self, draft: &DraftIdentity, id: ConversationId, now: Instant) {
        let Some(gaps) = self.sessions.get_mut(&draft.caller) else {
            return;
        };
        let mut found = gaps.iter_mut().enumerate();
        let Some((index, gap)) = found.find(|(_, gap)| gap.is_in(&draft.conversation, Some(id))) else {
            return;
        };
        if gap.drafts.front() == Some(&draft.id) {
            gap.drafts.pop_front();
            gap.expires = now + self.window;
            if gap.drafts.is_empty() {
                self.remove_gap(draft.caller, index);
            }
        }
    }

    /// Forgets a draft that will not be resent, so that later drafts need not wait for it: it was
    /// refused permanently before it was [admitted](Self::check), or answered as stored before. Its
    /// session may have sent it with several references to the conversation, so it is removed from
    /// every gap of the session.
    pub(super) fn forget(&mut self, caller: Caller, draft: ClientMessageId) {
        let Some(gaps) = self.sessions.get_mut(&caller) else {
            return;
        };
        let count = gaps.len();
        gaps.retain_mut(|gap| {
            gap.drafts.retain(|queued| *queued != draft);
            !gap.drafts.is_empty()
        });
        self.count -= count - gaps.len();
        if gaps.is_empty() {
            self.sessions.remove(&caller);
        }
    }

    fn remove_gap(&mut self, caller: Caller, index: usize) {
        if let Some(gaps) = self.sessions.get_mut(&caller) {
            gaps.swap_remove(index);
            self.count -= 1;
            if gaps.is_empty() {
                self.sessions.remove(&caller);
            }
        }
    }

    /// Records a draft that was refused before it was [admitted](Self::check), behind the other
    /// drafts of its gap. A draft of the gap keeps its place. The drafts of an expired gap are
    /// forgotten first.
    pub(super) fn record_last(&mut self, draft: &DraftIdentity, error: &CommandError, now: Instant) {
        let window = self.window;
        let Some(gap) = self.gap(draft, None, error, now) else {
            return;
        };
        if now >= gap.expires {
            // The older drafts were not resent within the window, so this one does not wait for
            // them, and later drafts wait for this one for a whole window.
            gap.drafts.clear();
            gap.outcome_unknown = error.code != ReplyCode::Busy;
        }
        if gap.drafts.is_empty() {
            gap.expires = now + window;
        }
        if gap.drafts.front() == Some(&draft.id) {
            gap.expires = now + window;
        } else {
            gap.push_back(draft.id);
        }
    }

    /// Records drafts that were refused after they had been admitted, in this order and before the
    /// other drafts of their gaps. Drafts that were refused permanently are left out.
    pub(super) fn record_first(
        &mut self,
        drafts: Vec<(DraftIdentity, CommandError)>,
        id: ConversationId,
        now: Instant,
    ) {
        let window = self.window;
        for (draft, error) in drafts.into_iter().rev() {
            if !is_temporary(&error) {
                continue;
            }
            let Some(gap) = self.gap(&draft, Some(id), &error, now) else {
                continue;
            };
            gap.drafts.retain(|queued| *queued != draft.id);
            gap.drafts.push_front(draft.id);
            gap.drafts.truncate(MAX_GAP_DRAFTS);
            gap.expires = now + window;
        }
    }

    /// Returns the gap of the draft's session in the conversation, and creates it if there is none.
    /// Returns `None` if it would be one gap too many. Unless `error` says that nothing was stored,
    /// the gap's outcome counts as unknown.
    fn gap(
        &mut self,
        draft: &DraftIdentity,
        id: Option<ConversationId>,
        error: &CommandError,
        now: Instant,
    ) -> Option<&mut Gap> {
        self.sweep(now);
        let known = self.sessions.get(&draft.caller);
        let known = known.and_then(|gaps| gaps.iter().position(|gap| gap.is_in(&draft.conversation, id)));
        if known.is_none() && self.count >= MAX_GAPS {
            return None;
        }
        let gaps = self.sessions.entry(draft.caller).or_default();
        let index = known.unwrap_or(gaps.len());
        if known.is_none() {
            self.count += 1;
            gaps.push(Gap {
                conversation: draft.conversation.clone(),
                id,
                drafts: VecDeque::new(),
                outcome_unknown: false,
                expires: now + self.window,
            });
        }
        let gap = gaps.get_mut(index)?;
        gap.id = gap.id.or(id);
        gap.outcome_unknown |= error.code != ReplyCode::Busy;
        Some(gap)
    }

    /// Removes the gaps that have expired, unless that was done within the last
    /// [`SWEEP_INTERVAL`].
    fn sweep(&mut self, now: Instant) {
        if self.last_sweep.is_some_and(|last| now < last + SWEEP_INTERVAL) {
            return;
        }
        self.last_sweep = Some(now);
        self.sessions.retain(|_, gaps| {
            gaps.retain(|gap| now < gap.expires);
            !gaps.is_empty()
        });
        self.count = self.sessions.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceId, SessionEpoch, UserId};

    const WINDOW: Duration = Duration::from_secs(5);
    const CONVERSATION: ConversationId = ConversationId(7);

    fn draft(n: u8) -> DraftIdentity {
        DraftIdentity {
            caller: Caller::login(UserId(1), DeviceId([1; 16]), SessionEpoch(1)),
            conversation: ConversationRef::Id(CONVERSATION),
            id: ClientMessageId([n; 16]),
        }
    }

    fn admit(order: &mut ResendOrder, draft: &DraftIdentity, now: Instant) -> Result<(), CommandError> {
        order.check(draft.caller, (&draft.conversation, CONVERSATION), draft.id, now)?;
        order.entered_lane(draft, CONVERSATION, now);
        Ok(())
    }

    /// Returns the drafts that are admitted when `drafts` arrive in this order.
    fn admitted(order: &mut ResendOrder, now: Instant, drafts: &[u8]) -> Vec<u8> {
        let admitted = |n: &&u8| admit(order, &draft(**n), now).is_ok();
        drafts.iter().filter(admitted).copied().collect()
    }

    #[test]
    fn order_admits_refused_drafts_first_and_in_send_order() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        assert_eq!(admitted(&mut order, now, &[1, 2]), [1, 2]);
        let refused = [1, 2].map(|n| (draft(n), CommandError::busy()));
        order.record_first(refused.into(), CONVERSATION, now);
        assert_eq!(admitted(&mut order, now, &[3, 4]), [0_u8; 0]);
        assert_eq!(
            admitted(&mut order, now, &[2, 1, 3, 5, 2, 3, 4, 5, 6]),
            [1, 2, 3, 4, 5, 6]
        );
        assert!(order.sessions.is_empty() && order.count == 0);
    }

    #[test]
    fn order_keeps_a_draft_first_after_a_second_refusal() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        order.record_last(&draft(1), &CommandError::busy(), now);
        assert_eq!(admitted(&mut order, now, &[2, 1]), [1]);
        order.record_first(vec![(draft(1), CommandError::try_again())], CONVERSATION, now);
        assert_eq!(admitted(&mut order, now, &[2, 3, 1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn order_error_says_whether_a_refused_draft_may_be_stored() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        order.record_last(&draft(1), &CommandError::busy(), now);
        let code = |order: &mut ResendOrder| admit(order, &draft(2), now).unwrap_err().code;
        assert_eq!(code(&mut order), ReplyCode::Busy);
        order.record_last(&draft(1), &CommandError::try_again(), now);
        assert_eq!(code(&mut order), ReplyCode::TryAgain);
    }

    #[test]
    fn order_forgets_a_draft_that_is_refused_permanently() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        let first = draft(1);
        for n in 1..=2 {
            order.record_last(&draft(n), &CommandError::busy(), now);
        }
        order.forget(first.caller, first.id);
        assert_eq!(admitted(&mut order, now, &[3, 2]), [2], "2 is still expected");
        assert_eq!(admitted(&mut order, now, &[3]), [3]);
        order.record_last(&draft(1), &CommandError::busy(), now);
        order.forget(first.caller, first.id);
        assert!(order.sessions.is_empty() && order.count == 0);
    }

    #[test]
    fn order_forgets_a_draft_that_was_resent_under_another_reference() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        let mut resent = draft(1);
        order.record_last(&resent, &CommandError::busy(), now);
        resent.conversation = ConversationRef::direct(UserId(2));
        order.forget(resent.caller, resent.id);
        assert_eq!(admitted(&mut order, now, &[2]), [2]);
        for conversation in [ConversationRef::Id(CONVERSATION), ConversationRef::direct(UserId(2))] {
            resent.conversation = conversation;
            order.record_last(&resent, &CommandError::busy(), now);
        }
        assert_eq!(order.count, 2, "it is not known that both are the same conversation");
        order.forget(resent.caller, resent.id);
        assert!(order.sessions.is_empty() && order.count == 0);
    }

    #[test]
    fn order_ignores_permanent_refusals() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        order.record_first(vec![(draft(1), CommandError::forbidden())], CONVERSATION, now);
        assert_eq!(admitted(&mut order, now, &[2, 1]), [2, 1]);
    }

    #[test]
    fn gap_expires_after_the_window_and_affects_one_session() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        let busy = CommandError::busy();
        order.record_last(&draft(1), &busy, now);
        let end = now + WINDOW;
        let before = end - Duration::from_millis(1);
        assert_eq!(admitted(&mut order, before, &[2, 3]), [0_u8; 0]);
        assert_eq!(admitted(&mut order, end, &[3, 2]), [3, 2]);
        assert!(order.sessions.is_empty());
        let mut other = draft(2);
        other.caller = Caller::login(UserId(1), DeviceId([1; 16]), SessionEpoch(2));
        order.record_last(&draft(1), &busy, now);
        assert!(admit(&mut order, &other, now).is_ok(), "another session has no gap");
    }

    /// Refuses a draft of another user shortly before `end`, so that no search for expired gaps is
    /// due at `end`.
    fn put_off_sweep(order: &mut ResendOrder, end: Instant) {
        let mut other = draft(9);
        other.caller.user = UserId(2);
        order.record_last(&other, &CommandError::busy(), end - SWEEP_INTERVAL / 2);
    }

    #[test]
    fn draft_that_is_refused_after_its_gap_has_expired_does_not_wait_for_the_older_ones() {
        let now = Instant::now();
        let (end, busy) = (now + WINDOW, CommandError::busy());
        let mut order = ResendOrder::new(WINDOW);
        let by_reference = |n| DraftIdentity {
            conversation: ConversationRef::direct(UserId(2)),
            ..draft(n)
        };
        order.record_last(&by_reference(1), &busy, now);
        assert!(
            admit(&mut order, &by_reference(2), now).is_err(),
            "the gap learns the id"
        );
        put_off_sweep(&mut order, end);
        order.record_last(&by_reference(3), &busy, end);
        let last = end + WINDOW - Duration::from_millis(1);
        assert_eq!(admitted(&mut order, last, &[4]), [0_u8; 0], "4 was sent after 3");
        assert!(admit(&mut order, &by_reference(3), last).is_ok(), "1 was given up");
        assert_eq!(admitted(&mut order, last, &[4]), [4]);
    }

    #[test]
    fn drafts_behind_one_that_fails_late_keep_their_places() {
        let now = Instant::now();
        let (end, busy) = (now + WINDOW, CommandError::busy());
        let mut order = ResendOrder::new(WINDOW);
        let refused = [1, 2].map(|n| (draft(n), busy.clone()));
        order.record_first(refused.into(), CONVERSATION, now);
        assert_eq!(admitted(&mut order, now, &[1]), [1]);
        put_off_sweep(&mut order, end);
        order.record_first(vec![(draft(1), busy)], CONVERSATION, end);
        assert_eq!(admitted(&mut order, end, &[3, 2]), [0_u8; 0]);
        assert_eq!(admitted(&mut order, end, &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn gaps_are_bounded_and_swept() {
        let now = Instant::now();
        let mut order = ResendOrder::new(WINDOW);
        let refuse = |order: &mut ResendOrder, n: u64, now| {
            let mut draft = draft(1);
            draft.caller.user = UserId(n);
            order.record_last(&draft, &CommandError::busy(), now);
        };
        (0..20_000).for_each(|n| refuse(&mut order, n, now));
        assert_eq!((order.sessions.len(), order.count), (MAX_GAPS, MAX_GAPS));
        refuse(&mut order, 1, now + Duration::from_secs(60));
        assert_eq!((order.sessions.len(), order.count), (1, 1));
    }
}
