//! [`RateLimit`] and the bucket that enforces it, and a table of buckets that cannot grow without end.
//!
//! Not `governor`: its keyed limiters keep every key until somebody sweeps, and have no way to give a charge back.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// So many in so long, with a burst. Enforced as GCRA: the long-term rate is exact, and there are no window edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How many in [`per`](Self::per). 0 refuses everything.
    pub count: u32,
    /// The time for `count`.
    pub per: Duration,
    /// How many at once after a pause. At least 1 is used.
    pub burst: u32,
}

impl RateLimit {
    /// No limit at all.
    pub const UNLIMITED: Self = Self {
        count: 1,
        per: Duration::ZERO,
        burst: 1,
    };

    /// `count` in `per`, all of them at once if need be.
    #[must_use]
    pub const fn new(count: u32, per: Duration) -> Self {
        Self {
            count,
            per,
            burst: count,
        }
    }

    /// The same rate with another burst.
    #[must_use]
    pub const fn with_burst(self, burst: u32) -> Self {
        Self { burst, ..self }
    }

    /// Time one charge takes to wear off; `None`: never.
    fn interval(&self) -> Option<Duration> {
        self.per.checked_div(self.count)
    }
}

/// The state of one limit: the time at which it will have recovered entirely (GCRA's theoretical arrival time).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    recovered_at: Option<Instant>,
}

impl Bucket {
    /// How long to wait before one more is allowed; `Ok` when it is now. Charges nothing.
    pub(crate) fn check(&self, now: Instant, limit: &RateLimit) -> Result<(), Duration> {
        let Some(interval) = limit.interval() else {
            return Err(limit.per);
        };
        let tolerance = interval.saturating_mul(limit.burst.max(1) - 1);
        match self.charge(now).checked_sub(tolerance) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    /// Counts one.
    pub(crate) fn add(&mut self, now: Instant, limit: &RateLimit) {
        let charge = self.charge(now).saturating_add(limit.interval().unwrap_or(limit.per));
        self.recovered_at = now.checked_add(charge);
    }

    /// Takes one back.
    pub(crate) fn take_back(&mut self, now: Instant, limit: &RateLimit) {
        let charge = self.charge(now).saturating_sub(limit.interval().unwrap_or_default());
        self.recovered_at = now.checked_add(charge);
    }
}

impl Charge for Bucket {
    fn charge(&self, now: Instant) -> Duration {
        self.recovered_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

/// State that fades.
pub(crate) trait Charge {
    /// How long this state still says anything. Zero: it equals `Default` and can be forgotten.
    fn charge(&self, now: Instant) -> Duration;
}

/// At most `capacity` states by key. When there is no room, the state that says least among the oldest few makes it.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    /// Same keys as `order`.
    states: HashMap<K, V>,
    /// Oldest first.
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Copy + Eq + Hash, V: Charge + Default> Table<K, V> {
    /// How many of the oldest states are looked at to find the least one.
    const LOOK_AT: usize = 8;

    /// An empty table; memory is taken as it fills.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            states: HashMap::new(),
            order: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.states.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.states.get_mut(key)
    }

    /// The state of `key`, made if need be.
    pub(crate) fn entry(&mut self, now: Instant, key: K) -> &mut V {
        if !self.states.contains_key(&key) {
            self.forget_faded(now);
            if self.states.len() >= self.capacity {
                self.evict(now);
            }
            self.order.push_back(key);
        }
        self.states.entry(key).or_default()
    }

    /// Two out for each one in: the table shrinks again after a flood, without a sweep that would stop everybody.
    fn forget_faded(&mut self, now: Instant) {
        for _ in 0..2 {
            let Some(oldest) = self.order.pop_front() else { return };
            if self.charge(now, &oldest).is_zero() {
                self.states.remove(&oldest);
            } else {
                self.order.push_back(oldest);
            }
        }
    }

    fn evict(&mut self, now: Instant) {
        let oldest: Vec<K> = self.order.drain(..Self::LOOK_AT.min(self.order.len())).collect();
        let least = oldest.iter().copied().min_by_key(|key| self.charge(now, key));
        self.order.extend(oldest.iter().filter(|key| Some(**key) != least));
        if let Some(least) = least {
            self.states.remove(&least);
        }
    }

    fn charge(&self, now: Instant, key: &K) -> Duration {
        self.states.get(key).map_or(Duration::ZERO, |state| state.charge(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn take(bucket: &mut Bucket, now: Instant, limit: &RateLimit) -> Result<(), Duration> {
        bucket.check(now, limit)?;
        bucket.add(now, limit);
        Ok(())
    }

    #[test]
    fn burst_then_rate() {
        let limit = RateLimit::new(3, 30 * SECOND);
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(take(&mut bucket, start, &limit), Ok(()));
        }
        assert_eq!(take(&mut bucket, start, &limit), Err(10 * SECOND));
        assert_eq!(take(&mut bucket, start + 9 * SECOND, &limit), Err(SECOND));
        assert_eq!(take(&mut bucket, start + 10 * SECOND, &limit), Ok(()));
        assert_eq!(take(&mut bucket, start + 10 * SECOND, &limit), Err(10 * SECOND));
        bucket.take_back(start + 10 * SECOND, &limit);
        assert_eq!(take(&mut bucket, start + 10 * SECOND, &limit), Ok(()));
        for _ in 0..3 {
            assert_eq!(take(&mut bucket, start + 3600 * SECOND, &limit), Ok(()));
        }
        assert!(take(&mut bucket, start + 3600 * SECOND, &limit).is_err());
    }

    #[test]
    fn extremes() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..10_000 {
            assert_eq!(take(&mut bucket, start, &RateLimit::UNLIMITED), Ok(()));
        }
        let none = RateLimit::new(0, 60 * SECOND);
        assert_eq!(take(&mut Bucket::default(), start, &none), Err(60 * SECOND));
        let huge = RateLimit::new(u32::MAX, Duration::MAX);
        assert_eq!(take(&mut bucket, start, &huge), Ok(()));
        let slow = RateLimit::new(1, Duration::MAX);
        take(&mut bucket, start, &slow).ok();
        bucket.add(start, &slow);
    }

    #[test]
    fn table_forgets_what_faded_and_keeps_what_weighs_most() {
        let limit = RateLimit::new(1, SECOND).with_burst(100);
        let start = Instant::now();
        let mut table = Table::<u32, Bucket>::new(8);
        for _ in 0..50 {
            table.entry(start, 0).add(start, &limit);
        }
        for key in 1..=1000 {
            table.entry(start, key).add(start, &limit);
            assert!(table.len() <= 8);
        }
        assert!(
            table.get(&0).is_some_and(|bucket| bucket.charge(start) == 50 * SECOND),
            "a flood evicts the light ones"
        );

        let mut table = Table::<u32, Bucket>::new(1000);
        for key in 0..1000 {
            table.entry(start, key).add(start, &limit);
        }
        for key in 1000..1600 {
            table.entry(start + 2 * SECOND, key).add(start + 2 * SECOND, &limit);
        }
        assert_eq!(table.len(), 600, "faded states went away as new ones came");
    }

    proptest! {
        #[test]
        fn table_is_bounded_and_consistent(keys in prop::collection::vec((0u8..40, 0u64..3), 0..300)) {
            let limit = RateLimit::new(1, SECOND);
            let mut now = Instant::now();
            let mut table = Table::<u8, Bucket>::new(10);
            for (key, seconds) in keys {
                now += Duration::from_secs(seconds);
                table.entry(now, key).add(now, &limit);
                prop_assert!(table.len() <= 10);
                prop_assert_eq!(table.order.len(), table.states.len());
                prop_assert!(table.order.iter().all(|key| table.states.contains_key(key)));
                prop_assert!(table.get(&key).is_some());
            }
        }

        #[test]
        fn never_more_than_rate_and_burst(count in 1u32..20, burst in 1u32..20, steps in prop::collection::vec(0u64..500, 1..200)) {
            let limit = RateLimit::new(count, SECOND).with_burst(burst);
            let start = Instant::now();
            let (mut now, mut taken, mut bucket) = (start, 0u32, Bucket::default());
            for step in steps {
                now += Duration::from_millis(step);
                taken += u32::from(take(&mut bucket, now, &limit).is_ok());
            }
            let allowed = (now - start).as_secs_f64() * f64::from(count) + f64::from(burst);
            prop_assert!(f64::from(taken) <= allowed + 1e-3, "{} of {}", taken, allowed);
        }
    }
}
