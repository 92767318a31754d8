//! [`AttemptHistory`]: the attempts on one account by unknown devices, or those by one known
//! device.

use std::time::{Duration, Instant};

use super::ThrottleOptions;
use crate::rate::Decaying;

/// Recent attempts. The first [`account_attempts`](ThrottleOptions::account_attempts) are allowed
/// at once; after them follows a wait, which each further attempt doubles, up to
/// [`max_account_wait`](ThrottleOptions::max_account_wait).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AttemptHistory {
    attempts: u32,
    /// Time until which attempts are rejected; `None` if no wait has begun.
    blocked_until: Option<Instant>,
    /// Time at which the history expires; `None` until an attempt is counted.
    expires_at: Option<Instant>,
}

impl AttemptHistory {
    /// Returns the time to wait as an error if no attempt is allowed now.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        match self.blocked_until {
            Some(until) if until > now => Err(until.saturating_duration_since(now)),
            _ => Ok(()),
        }
    }

    /// Counts an attempt, and begins a wait if there are now at least
    /// [`account_attempts`](ThrottleOptions::account_attempts). Before that, clears the history if
    /// it has expired.
    pub(super) fn add(&mut self, now: Instant, options: &ThrottleOptions) {
        if self.expires_at.is_some_and(|at| at <= now) {
            self.clear();
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= options.account_attempts {
            let doublings = (self.attempts - options.account_attempts).min(31);
            let wait = options
                .account_window
                .saturating_mul(1 << doublings)
                .min(options.max_account_wait);
            self.blocked_until = now.checked_add(wait);
            self.expires_at = now.checked_add(wait.saturating_add(options.max_account_wait));
        } else if self.attempts == 1 {
            self.expires_at = now.checked_add(options.account_window);
        }
    }

    /// Removes an attempt whose password was not compared, or that another history counts instead.
    /// Ends the wait if too few attempts are left for one.
    pub(super) fn refund(&mut self, options: &ThrottleOptions) {
        self.attempts = self.attempts.saturating_sub(1);
        if self.attempts < options.account_attempts {
            self.blocked_until = None;
        }
    }

    /// Clears the history.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Decaying for AttemptHistory {
    fn remaining(&self, now: Instant) -> Duration {
        self.expires_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}
