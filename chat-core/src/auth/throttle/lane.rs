//! [`Lane`]: the attempts on one account, or by one device.

use std::time::{Duration, Instant};

use super::ThrottleOptions;
use crate::rate::Decaying;

/// A few attempts are free; then each one doubles the wait before the next.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lane {
    attempts: u32,
    /// The next attempt is refused until then.
    blocked_until: Option<Instant>,
    /// Everything is forgotten then.
    forgotten_at: Option<Instant>,
}

impl Lane {
    /// Whether an attempt may be made, or how long to wait.
    pub(super) fn check(&self, now: Instant) -> Result<(), Duration> {
        match self.blocked_until {
            Some(until) if until > now => Err(until.saturating_duration_since(now)),
            _ => Ok(()),
        }
    }

    /// Counts an attempt.
    pub(super) fn add(&mut self, now: Instant, options: &ThrottleOptions) {
        if self.forgotten_at.is_some_and(|at| at <= now) {
            self.clear();
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= options.account_attempts {
            let doublings = (self.attempts - options.account_attempts).min(31);
            let wait = options
                .account_window
                .saturating_mul(1 << doublings)
                .min(options.account_max_wait);
            self.blocked_until = now.checked_add(wait);
            self.forgotten_at = now.checked_add(wait.saturating_add(options.account_max_wait));
        } else if self.attempts == 1 {
            self.forgotten_at = now.checked_add(options.account_window);
        }
    }

    /// Forgets an attempt that did not take place.
    pub(super) fn take_back(&mut self, options: &ThrottleOptions) {
        self.attempts = self.attempts.saturating_sub(1);
        if self.attempts < options.account_attempts {
            self.blocked_until = None;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Decaying for Lane {
    fn remaining(&self, now: Instant) -> Duration {
        self.forgotten_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}
