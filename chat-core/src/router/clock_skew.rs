//! Difference between this node's clock and the store's, and the store's time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::model::Timestamp;
use crate::sync::Mutex;
use crate::time::now;

/// Difference above which the node logs a warning.
const MAX_SYNCHRONISED: Duration = Duration::from_secs(2);
/// Difference above which the node's clock counts as wrong, so that the node admits no new session.
const MAX_TOLERATED: Duration = Duration::from_secs(5 * 60);

/// Result of the latest check of the node's clock, and the store's time of day. Clones share both.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockStatus {
    is_wrong: Arc<AtomicBool>,
    /// Time of day of the store at an instant; `None` if the store has not told it.
    store_time: Arc<Mutex<Option<(Instant, Timestamp)>>>,
}

impl ClockStatus {
    pub(crate) fn is_wrong(&self) -> bool {
        self.is_wrong.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, skew: ClockSkew) {
        self.is_wrong.store(skew == ClockSkew::Wrong, Ordering::Relaxed);
    }

    /// Records the store's time of day in an answer to a request that was sent at `asked` and has
    /// been answered now.
    pub(crate) fn record_store_time(&self, asked: Instant, time: Timestamp) {
        // The store read its clock at an unknown time between the request and the answer. The
        // middle of the two makes the greatest possible error as small as possible.
        let half_round_trip = now().saturating_duration_since(asked) / 2;
        *self.store_time.lock() = Some((asked + half_round_trip, time));
    }

    /// Returns the store's time of day now, or `None` if the store has not told it.
    fn store_time(&self) -> Option<Timestamp> {
        let (at, time) = (*self.store_time.lock())?;
        let elapsed = now().saturating_duration_since(at).as_millis();
        Some(Timestamp(
            time.0.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX)),
        ))
    }
}

/// Clock that shows the store's time of day, so that the times that different nodes write come from
/// one clock, and a node whose own clock is wrong or is changed writes no wrong times. Until the
/// store has told its time of day, the clock shows that of the node's own clock.
#[derive(Clone, Debug)]
pub(crate) struct StoreClock {
    own: Arc<dyn Clock>,
    status: ClockStatus,
}

impl StoreClock {
    pub(crate) fn new(own: Arc<dyn Clock>, status: ClockStatus) -> Self {
        Self { own, status }
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        self.status.store_time().unwrap_or_else(|| self.own.now())
    }
}

/// Classification of the difference between the node's clock and the store's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockSkew {
    /// The clocks differ by at most 2 s.
    Synchronised,
    /// The clocks differ by more than 2 s and at most 5 min.
    Noticeable,
    /// The clocks differ by more than 5 min.
    Wrong,
}

impl ClockSkew {
    /// Compares the store's time with this node's time `before` the request and `after` the answer.
    /// Returns the skew, and the minimum difference between the clocks.
    pub(crate) fn between(before: Timestamp, after: Timestamp, store: Timestamp) -> (Self, Duration) {
        let difference = difference(before, after, store);
        let skew = match difference {
            difference if difference > MAX_TOLERATED => Self::Wrong,
            difference if difference > MAX_SYNCHRONISED => Self::Noticeable,
            _ => Self::Synchronised,
        };
        (skew, difference)
    }

    /// Logs a change from `last` to `self`; logs nothing if they are equal.
    pub(crate) fn log_change(self, last: Self, difference: Duration) {
        match self {
            _ if self == last => {}
            Self::Wrong => tracing::error!(
                ?difference,
                "this machine's clock and the database's are more than 5 minutes apart: logins are refused here until \
                 the difference is smaller, and what connected users do gets the time of the database; synchronise both"
            ),
            Self::Noticeable => tracing::warn!(
                ?difference,
                "the clocks of this machine and of the database differ; synchronise both"
            ),
            Self::Synchronised => tracing::info!("the clocks of this machine and of the database agree again"),
        }
    }
}

/// Returns the minimum difference between the two clocks: the distance of the store's time from the
/// interval `before..=after`.
fn difference(before: Timestamp, after: Timestamp, store: Timestamp) -> Duration {
    let millis = if store < before {
        before.0.saturating_sub(store.0)
    } else {
        store.0.saturating_sub(after.0).max(0)
    };
    Duration::from_millis(millis.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_excludes_the_duration_of_the_call() {
        let difference = |before, after, store| difference(Timestamp(before), Timestamp(after), Timestamp(store));
        assert_eq!(difference(1_000, 6_000, 3_000), Duration::ZERO, "within the call");
        assert_eq!(difference(1_000, 6_000, 6_500), Duration::from_millis(500));
        assert_eq!(difference(1_000, 6_000, 400), Duration::from_millis(600));
        assert_eq!(
            difference(9_000, 1_000, 5_000),
            Duration::from_secs(4),
            "the clock was set back during the call"
        );
        assert_eq!(difference(0, 0, i64::MIN), Duration::from_millis(i64::MAX as u64));
    }
}
