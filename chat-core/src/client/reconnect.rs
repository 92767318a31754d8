//! Delays between attempts to connect, with full jitter, so that the clients of a failed server do
//! not reconnect at the same time.

use std::time::{Duration, Instant};

/// Upper bound of the random part of the first delay.
pub(super) const MAX_FIRST_JITTER: Duration = Duration::from_millis(500);
/// Upper bound of the random part of every delay.
pub(super) const MAX_JITTER: Duration = Duration::from_secs(30);
/// Minimum duration of a healthy session. A failure after a healthy session counts as the first.
pub(super) const MIN_HEALTHY_SESSION: Duration = Duration::from_secs(60);

/// Delays between attempts. Gets the time and random numbers as arguments.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Number of failures since the last healthy session.
    failures: u32,
    /// Start of the current session; `None` without a session.
    connected_at: Option<Instant>,
}

impl Backoff {
    /// Records that a session started.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// Counts a failure and returns the delay before the next attempt: `asked`, the delay that the
    /// server asked for, plus a random delay between 0 and a bound that doubles from
    /// [`MAX_FIRST_JITTER`] to [`MAX_JITTER`]. `random` is a uniformly distributed random number.
    pub(super) fn failed(&mut self, now: Instant, asked: Option<Duration>, random: u32) -> Duration {
        let healthy = self
            .connected_at
            .take()
            .is_some_and(|since| now.duration_since(since) >= MIN_HEALTHY_SESSION);
        if healthy {
            self.failures = 0;
        }
        let bound = MAX_FIRST_JITTER
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_JITTER);
        self.failures = self.failures.saturating_add(1);
        let jitter = bound.mul_f64(f64::from(random) / f64::from(u32::MAX));
        asked.unwrap_or(Duration::ZERO).saturating_add(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_doubles_to_the_cap_and_restarts_after_a_healthy_session() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        let bounds: Vec<_> = (0..9)
            .map(|_| backoff.failed(now, None, u32::MAX).as_millis())
            .collect();
        assert_eq!(bounds, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        assert_eq!(backoff.failed(now, None, 0), Duration::ZERO);

        backoff.connected(now);
        assert_eq!(
            backoff.failed(now + MIN_HEALTHY_SESSION - MAX_FIRST_JITTER, None, u32::MAX),
            MAX_JITTER
        );
        backoff.connected(now);
        assert_eq!(
            backoff.failed(now + MIN_HEALTHY_SESSION, None, u32::MAX),
            MAX_FIRST_JITTER
        );
    }

    #[test]
    fn delay_is_at_least_the_one_that_the_server_asked_for() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(7);
        assert_eq!(backoff.failed(Instant::now(), Some(asked), 0), asked);
        assert_eq!(
            backoff.failed(Instant::now(), Some(asked), u32::MAX),
            asked + 2 * MAX_FIRST_JITTER
        );
    }
}
