//! The circuit breaker in front of the store: once it fails again and again, requests are told so at once.
//!
//! ```text
//! closed ──n failures in a row──► open ──pause──► half-open: one request goes through
//!    ▲                              ▲                 │
//!    └──────────── success ─────────┼─────────────────┤
//!                                   └──── failure ────┘
//! ```
//!
//! A failure may be of the store, or of one row that somebody has locked. So failures count by what they were about: however
//! often the same conversation fails, it counts once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::model::{Caller, ConversationId, UserId};
use crate::store::StoreError;
use crate::sync::Mutex;
use crate::time::now;

/// What a request to the store was about: what it may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// One conversation.
    Conversation(ConversationId),
    /// One user: account, devices, relations.
    User(UserId),
    /// Acknowledgements and read marks.
    Marks,
    /// Nothing that another request waits for.
    Alone,
}

impl From<ConversationId> for Scope {
    fn from(id: ConversationId) -> Self {
        Self::Conversation(id)
    }
}

impl From<UserId> for Scope {
    fn from(id: UserId) -> Self {
        Self::User(id)
    }
}

impl From<Caller> for Scope {
    fn from(caller: Caller) -> Self {
        Self::User(caller.user)
    }
}

/// Counts failures of the store.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures: u32,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failed: u32,
    /// What has failed since the last success; not more than it takes to open.
    about: HashSet<Scope>,
    /// When the next request may go through, while the breaker is open.
    probe_at: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(failures: u32, pause: Duration) -> Self {
        Self {
            failures,
            pause,
            state: Mutex::default(),
        }
    }

    /// Whether a request may go to the store now. An open breaker lets one through per pause.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.probe_at {
            None => true,
            Some(at) if now >= at => {
                state.probe_at = Some(now + self.pause);
                true
            }
            Some(_) => false,
        }
    }

    /// What came of a request that was let through. Refusals are answers.
    pub(crate) fn note(&self, scope: Scope, error: Option<&StoreError>) {
        match error {
            Some(StoreError::Unavailable(_)) => self.failed(scope, now()),
            _ => self.succeeded(),
        }
    }

    /// The store answered.
    fn succeeded(&self) {
        *self.state.lock() = State::default();
    }

    /// It did not.
    fn failed(&self, scope: Scope, now: Instant) {
        let mut state = self.state.lock();
        let open = state.probe_at.is_some();
        if !open && scope != Scope::Alone && !state.about.insert(scope) {
            return;
        }
        state.failed = state.failed.saturating_add(1);
        if state.failed >= self.failures {
            if state.probe_at.is_none() {
                tracing::warn!(
                    failures = state.failed,
                    "the store keeps failing: requests are refused until it answers"
                );
            }
            state.probe_at = Some(now + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_probes_and_closes() {
        let start = Instant::now();
        let pause = Duration::from_secs(1);
        let breaker = Breaker::new(2, pause);
        breaker.failed(Scope::Alone, start);
        assert!(breaker.admits(start));
        breaker.failed(Scope::Alone, start);
        assert!(!breaker.admits(start));
        assert!(breaker.admits(start + pause), "a probe");
        assert!(!breaker.admits(start + pause), "one probe at a time");
        breaker.failed(Scope::Alone, start + pause);
        assert!(!breaker.admits(start + pause));
        assert!(breaker.admits(start + 2 * pause));
        breaker.succeeded();
        assert!(breaker.admits(start + 2 * pause) && breaker.admits(start + 2 * pause));
    }

    #[test]
    fn one_thing_that_is_stuck_opens_nothing() {
        let now = Instant::now();
        let breaker = Breaker::new(2, Duration::from_secs(1));
        for _ in 0..10 {
            breaker.failed(ConversationId(1).into(), now);
        }
        assert!(breaker.admits(now));
        breaker.failed(ConversationId(2).into(), now);
        assert!(!breaker.admits(now), "two are not stuck: the store is away");
        let probe = now + Duration::from_secs(1);
        assert!(breaker.admits(probe));
        breaker.failed(ConversationId(2).into(), probe);
        assert!(
            !breaker.admits(probe),
            "a probe that fails keeps it open, whatever it is about"
        );
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let now = Instant::now();
        let breaker = Breaker::new(2, Duration::from_secs(1));
        for _ in 0..10 {
            breaker.failed(Scope::Alone, now);
            breaker.succeeded();
        }
        assert!(breaker.admits(now));
    }
}
