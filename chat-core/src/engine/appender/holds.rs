//! Drafts that were refused temporarily, and what must not overtake them.
//!
//! A peer that has several drafts under way learns of a refusal late: what it had sent behind the refused draft would be stored,
//! and the refused one, sent again, after it. So the rest is refused too, until the refused drafts have come again in their
//! order. Only what was on its way matters: a peer that knows of the refusal sends as it likes after `EngineConfig::resend_window`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::engine::error::CommandError;
use crate::model::{Caller, ClientMessageId, ConversationId, ConversationRef, ReplyCode};

/// Conversations of sessions in which something is held. Of more the order is not watched; about 300 bytes each.
const MOST: usize = 16_384;
/// Refused drafts of each that are remembered, as many as may wait in a conversation by default. Those beyond are refused, and
/// accepted in the order in which they come again.
const MOST_DRAFTS: usize = 512;
/// How often those that are over are thrown away.
const SWEEP: Duration = Duration::from_secs(1);

/// A draft that was refused, by the name that its sender gave to the conversation.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Refused {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) conversation: ConversationRef,
    pub(in crate::engine) id: ClientMessageId,
}

/// Whether a draft that gets this answer is to be sent again, and what came after it has to wait for that.
pub(super) fn is_for_now(error: &CommandError) -> bool {
    matches!(error.code, ReplyCode::Busy | ReplyCode::TryAgain | ReplyCode::Internal)
}

/// What is held, by session.
#[derive(Debug)]
pub(super) struct Holds {
    sessions: HashMap<Caller, Vec<Hold>>,
    count: usize,
    patience: Duration,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Hold {
    conversation: ConversationRef,
    /// Once it is known.
    id: Option<ConversationId>,
    /// What was refused and has not come again, in the order sent. Never empty.
    drafts: VecDeque<ClientMessageId>,
    /// One of them may be stored.
    doubt: bool,
    /// The first of them has to come again by then.
    until: Instant,
}

impl Hold {
    fn is_about(&self, conversation: &ConversationRef, id: Option<ConversationId>) -> bool {
        (id.is_some() && self.id == id) || self.conversation == *conversation
    }

    fn answer(&self) -> CommandError {
        let (code, text) = if self.doubt {
            (
                ReplyCode::TryAgain,
                "send what was refused before it again first; it may or may not have happened",
            )
        } else {
            (
                ReplyCode::Busy,
                "send what was refused before it again first; nothing was done",
            )
        };
        CommandError::new(code, text).retry_after(Duration::from_secs(1))
    }
}

impl Holds {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            sessions: HashMap::new(),
            count: 0,
            patience,
            swept: None,
        }
    }

    /// A draft has come. If something that was sent before it has to come again first, it is refused.
    pub(super) fn pass(
        &mut self,
        draft: &Refused,
        id: Option<ConversationId>,
        now: Instant,
    ) -> Result<(), CommandError> {
        if self.sessions.is_empty() {
            return Ok(());
        }
        let Some(holds) = self.sessions.get_mut(&draft.caller) else {
            return Ok(());
        };
        let found = holds.iter_mut().enumerate();
        let mut found = found.filter(|(_, hold)| hold.is_about(&draft.conversation, id));
        let Some((at, hold)) = found.next() else {
            return Ok(());
        };
        hold.id = hold.id.or(id);
        if now < hold.until {
            if hold.drafts.front() != Some(&draft.id) {
                let answer = hold.answer();
                if hold.drafts.len() < MOST_DRAFTS && !hold.drafts.contains(&draft.id) {
                    hold.drafts.push_back(draft.id);
                }
                return Err(answer);
            }
            hold.drafts.pop_front();
            hold.until = now + self.patience;
            if !hold.drafts.is_empty() {
                return Ok(());
            }
        }
        holds.swap_remove(at);
        self.count -= 1;
        if holds.is_empty() {
            self.sessions.remove(&draft.caller);
        }
        Ok(())
    }

    /// A draft was refused before it had [passed](Self::pass): it comes after whatever is held.
    pub(super) fn refused(&mut self, draft: Refused, error: &CommandError, now: Instant) {
        let patience = self.patience;
        let Some(hold) = self.hold(&draft, None, error, now) else {
            return;
        };
        if hold.drafts.front() == Some(&draft.id) {
            hold.until = now + patience;
        } else if hold.drafts.len() < MOST_DRAFTS && !hold.drafts.contains(&draft.id) {
            hold.drafts.push_back(draft.id);
        }
    }

    /// Drafts were refused that had passed, in this order: they come before whatever is held.
    pub(super) fn refused_after_all(&mut self, drafts: Vec<(Refused, CommandError)>, id: ConversationId, now: Instant) {
        let patience = self.patience;
        for (draft, error) in drafts.into_iter().rev() {
            if !is_for_now(&error) {
                continue;
            }
            let Some(hold) = self.hold(&draft, Some(id), &error, now) else {
                continue;
            };
            hold.drafts.retain(|held| *held != draft.id);
            hold.drafts.push_front(draft.id);
            hold.drafts.truncate(MOST_DRAFTS);
            hold.until = now + patience;
        }
    }

    fn hold(
        &mut self,
        draft: &Refused,
        id: Option<ConversationId>,
        error: &CommandError,
        now: Instant,
    ) -> Option<&mut Hold> {
        self.sweep(now);
        let known = self.sessions.get(&draft.caller);
        let known = known.and_then(|holds| holds.iter().position(|hold| hold.is_about(&draft.conversation, id)));
        if known.is_none() && self.count >= MOST {
            return None;
        }
        let holds = self.sessions.entry(draft.caller).or_default();
        let at = known.unwrap_or(holds.len());
        if known.is_none() {
            self.count += 1;
            holds.push(Hold {
                conversation: draft.conversation.clone(),
                id,
                drafts: VecDeque::new(),
                doubt: false,
                until: now + self.patience,
            });
        }
        let hold = holds.get_mut(at)?;
        hold.id = hold.id.or(id);
        hold.doubt |= error.code != ReplyCode::Busy;
        Some(hold)
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP) {
            return;
        }
        self.swept = Some(now);
        self.sessions.retain(|_, holds| {
            holds.retain(|hold| now < hold.until);
            !holds.is_empty()
        });
        self.count = self.sessions.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceId, SessionEpoch, UserId};

    const PATIENCE: Duration = Duration::from_secs(5);
    const PLACE: ConversationId = ConversationId(7);

    fn draft(n: u8) -> Refused {
        Refused {
            caller: Caller {
                user: UserId(1),
                device: DeviceId([1; 16]),
                epoch: SessionEpoch(1),
            },
            conversation: ConversationRef::Id(PLACE),
            id: ClientMessageId([n; 16]),
        }
    }

    /// Which of these pass when they come in this order.
    fn passed(holds: &mut Holds, now: Instant, drafts: &[u8]) -> Vec<u8> {
        let pass = |n: &&u8| holds.pass(&draft(**n), Some(PLACE), now).is_ok();
        drafts.iter().filter(pass).copied().collect()
    }

    #[test]
    fn what_was_refused_comes_first_and_in_its_order() {
        let now = Instant::now();
        let mut holds = Holds::new(PATIENCE);
        assert_eq!(passed(&mut holds, now, &[1, 2]), [1, 2]);
        holds.refused_after_all(
            vec![(draft(1), CommandError::busy()), (draft(2), CommandError::busy())],
            PLACE,
            now,
        );
        assert_eq!(passed(&mut holds, now, &[3, 4]), [0_u8; 0]);
        assert_eq!(
            passed(&mut holds, now, &[2, 1, 3, 5, 2, 3, 4, 5, 6]),
            [1, 2, 3, 4, 5, 6]
        );
        assert!(holds.sessions.is_empty() && holds.count == 0);
    }

    #[test]
    fn what_is_refused_again_stays_first() {
        let now = Instant::now();
        let mut holds = Holds::new(PATIENCE);
        holds.refused(draft(1), &CommandError::busy(), now);
        assert_eq!(passed(&mut holds, now, &[2, 1]), [1]);
        holds.refused_after_all(vec![(draft(1), CommandError::try_again())], PLACE, now);
        assert_eq!(passed(&mut holds, now, &[2, 3, 1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn what_may_be_stored_is_not_said_to_be_not() {
        let now = Instant::now();
        let mut holds = Holds::new(PATIENCE);
        holds.refused(draft(1), &CommandError::busy(), now);
        let code = |holds: &mut Holds| holds.pass(&draft(2), Some(PLACE), now).unwrap_err().code;
        assert_eq!(code(&mut holds), ReplyCode::Busy);
        holds.refused(draft(1), &CommandError::try_again(), now);
        assert_eq!(code(&mut holds), ReplyCode::TryAgain);
    }

    #[test]
    fn what_was_given_up_holds_nothing_for_long() {
        let now = Instant::now();
        let mut holds = Holds::new(PATIENCE);
        let busy = CommandError::busy();
        holds.refused(draft(1), &busy, now);
        let over = now + PATIENCE;
        let before = over - Duration::from_millis(1);
        assert_eq!(passed(&mut holds, before, &[2, 3]), [0_u8; 0]);
        assert_eq!(passed(&mut holds, over, &[3, 2]), [3, 2]);
        assert!(holds.sessions.is_empty());
        let mut other = draft(2);
        other.caller.epoch = SessionEpoch(2);
        holds.refused(draft(1), &busy, now);
        assert!(holds.pass(&other, Some(PLACE), now).is_ok(), "another session is free");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let mut holds = Holds::new(PATIENCE);
        let refuse = |holds: &mut Holds, n: u64, now| {
            let mut draft = draft(1);
            draft.caller.user = UserId(n);
            holds.refused(draft, &CommandError::busy(), now);
        };
        (0..20_000).for_each(|n| refuse(&mut holds, n, now));
        assert_eq!((holds.sessions.len(), holds.count), (MOST, MOST));
        refuse(&mut holds, 1, now + Duration::from_secs(60));
        assert_eq!((holds.sessions.len(), holds.count), (1, 1));
    }
}
