//! [`Rate`], and the bucket that enforces it.

use std::time::{Duration, Instant};

/// Average number of events per second, and the burst allowed on top.
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

    /// Allows `per_second` events on average and `burst` at once. Zero counts as 1 for both.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1).checked_div(per_second.max(1));
        Self {
            interval: interval.unwrap_or(Duration::from_secs(1)),
            burst: burst.max(1),
        }
    }
}

/// Rate limiter of one peer (generic cell rate algorithm). It needs no work while the peer is silent.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// The time at which all events so far would have arrived at the average rate.
    due: Option<Instant>,
}

impl Bucket {
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, due: None }
    }

    /// Counts one event and returns how long to wait before the next one.
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
    fn bucket_allows_a_burst_then_the_average() {
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
    fn unlimited_rate_never_waits() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Rate::UNLIMITED);
        assert!((0..100_000).all(|_| bucket.take(now) == NOW));
    }
}
