//! Circuit breaker in front of the store: after repeated failures, requests fail at once, without
//! reaching the store.
//!
//! ```text
//! closed ──n failures in a row──► open ──interval──► half-open: one request goes through
//!    ▲                              ▲                 │
//!    └──────────── success ─────────┼─────────────────┤
//!                                   └──── failure ────┘
//! ```
//!
//! A failure may come from the whole store, or from one locked row. So failures are counted per
//! [`Scope`]: while the breaker is closed, repeated failures of one conversation, for example,
//! count once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::model::{Caller, ConversationId, UserId};
use crate::store::StoreError;
use crate::sync::Mutex;
use crate::time::now;

/// Rows whose locks a request to the store may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The rows of one conversation.
    Conversation(ConversationId),
    /// The rows of one user: account, devices, contacts.
    User(UserId),
    /// The rows that store acknowledgements and read marks.
    Marks,
    /// No rows that other requests wait for: each failure counts.
    NoSharedRows,
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

/// Circuit breaker that counts consecutive failures of the store.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    probe_interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of counted failures since the last success.
    failures: u32,
    /// Scopes of the counted failures, except [`Scope::NoSharedRows`] and those that were counted
    /// while the breaker was open. At most as many as the threshold.
    scopes: HashSet<Scope>,
    /// Time from which one request may go through; `None` while the breaker is closed.
    probe_at: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(threshold: u32, probe_interval: Duration) -> Self {
        Self {
            threshold,
            probe_interval,
            state: Mutex::default(),
        }
    }

    /// Returns whether a request may go to the store now. An open breaker admits one request per
    /// probe interval, so a call that returns `true` uses up the interval, and its caller has to
    /// make the request.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.probe_at {
            None => true,
            Some(at) if now >= at => {
                state.probe_at = Some(now + self.probe_interval);
                true
            }
            Some(_) => false,
        }
    }

    /// Records the result of a request that was admitted. Only a store that does not answer counts
    /// as a failure. [`StoreError::Overloaded`] counts as nothing: the store returns it without
    /// asking the database. Any other result is an answer, and so a success.
    pub(crate) fn record(&self, scope: Scope, error: Option<&StoreError>) {
        match error {
            Some(StoreError::Unavailable(_)) => self.failed(scope, now()),
            Some(StoreError::Overloaded) => {}
            _ => self.succeeded(),
        }
    }

    fn succeeded(&self) {
        *self.state.lock() = State::default();
    }

    fn failed(&self, scope: Scope, now: Instant) {
        let mut state = self.state.lock();
        let is_open = state.probe_at.is_some();
        if !is_open && scope != Scope::NoSharedRows && !state.scopes.insert(scope) {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.threshold {
            if state.probe_at.is_none() {
                tracing::warn!(
                    failures = state.failures,
                    "the store keeps failing: requests are refused until it answers"
                );
            }
            state.probe_at = Some(now + self.probe_interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_failures_and_closes_after_a_successful_probe() {
        let start = Instant::now();
        let interval = Duration::from_secs(1);
        let breaker = Breaker::new(2, interval);
        breaker.failed(Scope::NoSharedRows, start);
        assert!(breaker.admits(start));
        breaker.failed(Scope::NoSharedRows, start);
        assert!(!breaker.admits(start));
        assert!(breaker.admits(start + interval), "a probe");
        assert!(!breaker.admits(start + interval), "one probe per interval");
        breaker.failed(Scope::NoSharedRows, start + interval);
        assert!(!breaker.admits(start + interval));
        assert!(breaker.admits(start + 2 * interval));
        breaker.succeeded();
        assert!(breaker.admits(start + 2 * interval) && breaker.admits(start + 2 * interval));
    }

    #[test]
    fn breaker_stays_closed_while_only_one_scope_fails() {
        let now = Instant::now();
        let breaker = Breaker::new(2, Duration::from_secs(1));
        for _ in 0..10 {
            breaker.failed(ConversationId(1).into(), now);
        }
        assert!(breaker.admits(now));
        breaker.failed(ConversationId(2).into(), now);
        assert!(!breaker.admits(now), "failures of two scopes open the breaker");
        let probe = now + Duration::from_secs(1);
        assert!(breaker.admits(probe));
        breaker.failed(ConversationId(2).into(), probe);
        assert!(
            !breaker.admits(probe),
            "a failed probe keeps the breaker open, whatever its scope"
        );
    }

    #[test]
    fn requests_that_did_not_reach_the_database_do_not_end_a_series_of_failures() {
        let breaker = Breaker::new(2, Duration::from_secs(1));
        for _ in 0..2 {
            breaker.record(Scope::NoSharedRows, Some(&StoreError::unavailable("down")));
            breaker.record(Scope::NoSharedRows, Some(&StoreError::Overloaded));
        }
        assert!(!breaker.admits(now()), "two failures, and no answer between them");
    }

    #[test]
    fn breaker_counts_only_consecutive_failures() {
        let now = Instant::now();
        let breaker = Breaker::new(2, Duration::from_secs(1));
        for _ in 0..10 {
            breaker.failed(Scope::NoSharedRows, now);
            breaker.succeeded();
        }
        assert!(breaker.admits(now));
    }
}
