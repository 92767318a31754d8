//! Rates, the buckets that enforce them, and a bounded table of buckets.
//!
//! The generic cell rate algorithm (GCRA) is implemented here once, for every [`Rate`] of the
//! engine, its sessions and its server. `governor` is not used: its keyed limiters keep every key
//! until a sweep, and cannot refund a charge.

mod table;

use std::time::{Duration, Instant};

pub(crate) use table::{Decaying, Table};

/// Maximum time in which a bucket recovers completely, about 100 years: an [`Instant`] can
/// represent times so far in the future.
const MAX_RECOVERY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `count` events per `per`, with a burst allowance.
///
/// It is enforced with GCRA: the long-term rate is exact, and there are no fixed windows, at whose
/// edges more events would pass.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use chat_core::rate::Rate;
///
/// // 100 a second on average; after a pause, 1 000 at once.
/// let rate = Rate::new(100, Duration::from_secs(1)).with_burst(1000);
/// assert!(rate.is_faster_than(Rate::new(30, Duration::from_secs(60))));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// Number of events in [`per`](Self::per). 0 refuses everything.
    pub count: u32,
    /// Period in which `count` events are allowed. Zero means that there is no limit, unless
    /// `count` is 0.
    pub per: Duration,
    /// Number of events allowed at once after a pause. 0 counts as 1. If the rate would need more
    /// than 100 years to allow this number of events again, it needs 100 years.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        count: 1,
        per: Duration::ZERO,
        burst: 1,
    };

    /// Creates a rate of `count` events per `per`. All `count` events may come at once.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Self {
        Self {
            count,
            per,
            burst: count,
        }
    }

    /// Returns the same rate with a different burst.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// Returns a rate that allows `factor` times as many events, on average and at once.
    #[must_use]
    pub(crate) const fn times(self, factor: u32) -> Self {
        Self {
            count: self.count.saturating_mul(factor),
            burst: self.burst.saturating_mul(factor),
            ..self
        }
    }

    /// Returns whether this rate allows more events on average than `other`. Bursts do not matter.
    #[must_use]
    pub const fn is_faster_than(self, other: Self) -> bool {
        let (own, others) = (self.per.as_nanos(), other.per.as_nanos());
        (self.count as u128).saturating_mul(others) > (other.count as u128).saturating_mul(own)
    }

    /// Returns the time in which a bucket recovers from one event, or `None` if no event is
    /// allowed. It is limited so that a bucket recovers from a burst within [`MAX_RECOVERY`].
    fn interval(&self) -> Option<Duration> {
        let interval = self.per.checked_div(self.count)?;
        Some(interval.min(MAX_RECOVERY / self.burst.max(1)))
    }
}

/// State of one limit: the time at which it will have recovered completely (GCRA's theoretical
/// arrival time).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    recovered_at: Option<Instant>,
}

impl Bucket {
    /// Returns `Ok` if one more event is allowed now, otherwise the time until one is. A rate with
    /// a `count` of 0 never allows one; then the time is the period of the rate. Charges nothing.
    pub(crate) fn check(&self, now: Instant, rate: &Rate) -> Result<(), Duration> {
        let Some(interval) = rate.interval() else {
            return Err(rate.per);
        };
        let tolerance = interval.saturating_mul(rate.burst.max(1) - 1);
        match self.remaining(now).checked_sub(tolerance) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Charges one event.
    pub(crate) fn charge(&mut self, now: Instant, rate: &Rate) {
        let recovery = self.remaining(now).saturating_add(rate.interval().unwrap_or(rate.per));
        self.recovered_at = now.checked_add(recovery.min(MAX_RECOVERY));
    }

    /// Charges `count` events, even if they are not allowed now, but not so many that the delay
    /// until the next allowed event would exceed `max_delay`.
    pub(crate) fn charge_up_to(&mut self, now: Instant, rate: &Rate, count: u32, max_delay: Duration) {
        let remaining = self.remaining(now);
        let interval = rate.interval().unwrap_or(rate.per);
        let tolerance = interval.saturating_mul(rate.burst.max(1) - 1);
        let max_recovery = tolerance.saturating_add(max_delay).min(MAX_RECOVERY).max(remaining);
        let recovery = remaining.saturating_add(interval.saturating_mul(count));
        self.recovered_at = now.checked_add(recovery.min(max_recovery));
    }

    /// Charges one event, even if it is not allowed now, and returns the delay until the next event
    /// is allowed. Used to slow a peer down instead of refusing its events.
    pub(crate) fn charge_paced(&mut self, now: Instant, rate: &Rate) -> Duration {
        self.charge(now, rate);
        self.check(now, rate).err().unwrap_or_default()
    }

    /// Refunds one event; nothing if the rate allows no event.
    pub(crate) fn refund(&mut self, now: Instant, rate: &Rate) {
        let recovery = self.remaining(now).saturating_sub(rate.interval().unwrap_or_default());
        self.recovered_at = now.checked_add(recovery);
    }
}

impl Decaying for Bucket {
    fn remaining(&self, now: Instant) -> Duration {
        self.recovered_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NO_WAIT: Duration = Duration::ZERO;

    fn try_charge(bucket: &mut Bucket, now: Instant, rate: &Rate) -> Result<(), Duration> {
        bucket.check(now, rate)?;
        bucket.charge(now, rate);
        Ok(())
    }

    #[test]
    fn bucket_allows_the_burst_then_the_rate() {
        let rate = Rate::new(3, 30 * SECOND);
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(try_charge(&mut bucket, start, &rate), Ok(()));
        }
        assert_eq!(try_charge(&mut bucket, start, &rate), Err(10 * SECOND));
        assert_eq!(try_charge(&mut bucket, start + 9 * SECOND, &rate), Err(SECOND));
        assert_eq!(try_charge(&mut bucket, start + 10 * SECOND, &rate), Ok(()));
        assert_eq!(try_charge(&mut bucket, start + 10 * SECOND, &rate), Err(10 * SECOND));
        bucket.refund(start + 10 * SECOND, &rate);
        assert_eq!(try_charge(&mut bucket, start + 10 * SECOND, &rate), Ok(()));
        for _ in 0..3 {
            assert_eq!(try_charge(&mut bucket, start + 3600 * SECOND, &rate), Ok(()));
        }
        assert!(try_charge(&mut bucket, start + 3600 * SECOND, &rate).is_err());
    }

    #[test]
    fn paced_charge_returns_the_delay_until_the_next_event() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let wait = Duration::from_millis;
        let rate = Rate::new(10, SECOND).with_burst(3);
        let mut bucket = Bucket::default();
        let mut take = |now| bucket.charge_paced(now, &rate);
        assert_eq!([start; 3].map(&mut take), [NO_WAIT, NO_WAIT, wait(100)]);
        assert_eq!(take(at(100)), wait(100));
        assert_eq!(take(at(250)), wait(50));
        let later = at(10_000);
        assert_eq!(
            [later; 3].map(&mut take),
            [NO_WAIT, NO_WAIT, wait(100)],
            "the burst recovers completely, and no further"
        );
    }

    #[test]
    fn charge_of_many_events_delays_the_next_by_a_maximum() {
        let start = Instant::now();
        let rate = Rate::new(10, SECOND).with_burst(5);
        let mut bucket = Bucket::default();
        let mut delay_after = |count, max| {
            bucket.charge_up_to(start, &rate, count, max);
            bucket.check(start, &rate).err().unwrap_or_default()
        };
        assert_eq!(delay_after(4, SECOND), NO_WAIT);
        assert_eq!(delay_after(3, SECOND), Duration::from_millis(300));
        assert_eq!(delay_after(100, SECOND), SECOND);
        assert_eq!(delay_after(1, SECOND / 2), SECOND, "a smaller maximum refunds nothing");
    }

    #[test]
    fn bucket_survives_extreme_rates() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..10_000 {
            assert_eq!(bucket.charge_paced(start, &Rate::UNLIMITED), NO_WAIT);
        }
        let none = Rate::new(0, 60 * SECOND);
        assert_eq!(try_charge(&mut Bucket::default(), start, &none), Err(60 * SECOND));
        let huge = Rate::new(u32::MAX, Duration::MAX);
        assert_eq!(try_charge(&mut bucket, start, &huge), Ok(()));
        for burst in 1..4 {
            for per in [Duration::MAX / 2, Duration::MAX] {
                let slow = Rate::new(1, per).with_burst(burst);
                let mut bucket = Bucket::default();
                for _ in 0..burst {
                    assert_eq!(try_charge(&mut bucket, start, &slow), Ok(()));
                }
                assert!(try_charge(&mut bucket, start, &slow).is_err(), "{slow:?}");
                for _ in 0..3 {
                    bucket.charge(start, &slow);
                }
                assert!(try_charge(&mut bucket, start, &slow).is_err(), "{slow:?}");
                bucket = Bucket::default();
                bucket.charge(start, &slow);
                bucket.refund(start, &slow);
                assert_eq!(bucket.remaining(start), NO_WAIT);
            }
        }
    }

    #[test]
    fn rates_compare_by_their_averages() {
        let rate = Rate::new(2, SECOND);
        assert!(rate.is_faster_than(Rate::new(100, 60 * SECOND)));
        assert!(!rate.is_faster_than(Rate::new(120, 60 * SECOND)), "equal averages");
        assert!(Rate::UNLIMITED.is_faster_than(rate) && !rate.is_faster_than(Rate::UNLIMITED));
    }

    proptest! {
        #[test]
        fn bucket_never_allows_more_than_rate_and_burst(
            count in 1u32..20,
            burst in 1u32..20,
            steps in prop::collection::vec(0u64..500, 1..200),
        ) {
            let rate = Rate::new(count, SECOND).with_burst(burst);
            let start = Instant::now();
            let (mut now, mut taken, mut bucket) = (start, 0u32, Bucket::default());
            for step in steps {
                now += Duration::from_millis(step);
                taken += u32::from(try_charge(&mut bucket, now, &rate).is_ok());
            }
            let allowed = (now - start).as_secs_f64() * f64::from(count) + f64::from(burst);
            prop_assert!(f64::from(taken) <= allowed + 1e-3, "{} of {}", taken, allowed);
        }
    }
}
