//! [`Backoff`]: growing pauses after consecutive failures of the store.

use std::time::{Duration, Instant};

/// Pause after the first of several consecutive failures; doubles with each further failure.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Maximum pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Exponential backoff of one kind of work, such as the reads of logs.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    until: Instant,
}

impl Backoff {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pause: MIN_PAUSE,
            until: now,
        }
    }

    /// Returns the time before which the work is not attempted again.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.until = now + self.pause;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    pub(super) fn succeeded(&mut self) {
        self.pause = MIN_PAUSE;
    }
}
