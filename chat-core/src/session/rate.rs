//! Rates, and the buckets that hold a peer to them.

use std::time::{Duration, Instant};

/// So many a second on average, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        interval: Duration::ZERO,
        burst: u32::MAX,
    };

    /// `per_second` on average (0 counts as 1), `burst` at once (0 counts as 1).
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second.max(1));
        Self {
            interval: interval.unwrap_or(Duration::from_secs(1)),
            burst: burst.max(1),
        }
    }
}

/// Holds one peer to a [`Rate`]: the generic cell rate algorithm, with nothing to do while the peer is silent.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When all that was taken would have come at the average rate.
    due: Option<Instant>,
}

impl Bucket {
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, due: None }
    }

    /// Takes one, and says how long to wait before the next.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let due = self.due.map_or(now, |due| due.max(now));
        let due = due.checked_add(self.rate.interval).unwrap_or(due);
        self.due = Some(due);
        let next = due.saturating_duration_since(now).saturating_add(self.rate.interval);
        next.saturating_sub(self.rate.interval.saturating_mul(self.rate.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_burst_then_the_average() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let wait = Duration::from_millis;
        let mut bucket = Bucket::new(Rate::new(10, 3));
        assert_eq!([start; 3].map(|now| bucket.take(now)), [NOW, NOW, wait(100)]);
        assert_eq!(bucket.take(at(100)), wait(100));
        assert_eq!(bucket.take(at(250)), wait(50));
        let later = at(10_000);
        assert_eq!(
            [later; 3].map(|now| bucket.take(now)),
            [NOW, NOW, wait(100)],
            "full again, never fuller"
        );
    }

    #[test]
    fn unlimited_is() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Rate::UNLIMITED);
        assert!((0..100_000).all(|_| bucket.take(now) == NOW));
    }
}
