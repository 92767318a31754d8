//! A bounded table of decaying states, such as rate buckets by user or by network.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// State that has no effect any more after some time.
pub(crate) trait Decaying {
    /// Returns the time until the state is equivalent to `Default` and can be forgotten.
    fn remaining(&self, now: Instant) -> Duration;
}

/// Map of at most `capacity` states by key. When the table is full, a new key evicts one of the few
/// states that are next in the order of checks: the one that decays first.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    /// States of the keys in `order`.
    states: HashMap<K, V>,
    /// Keys in the order in which their states are next checked for removal; new keys are last.
    order: VecDeque<K>,
    capacity: usize,
}

impl<K: Copy + Eq + Hash, V: Decaying + Default> Table<K, V> {
    /// Number of states at the front of `order` that are compared to find the one to evict.
    const EVICTION_CANDIDATES: usize = 8;

    /// Creates an empty table, which allocates memory as it fills. A `capacity` of 0 counts as 1.
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

    /// Returns the state of `key`, inserting the default state if there is none. An insertion also
    /// removes a few states that have decayed and, if the table is full, evicts one.
    pub(crate) fn entry(&mut self, now: Instant, key: K) -> &mut V {
        if !self.states.contains_key(&key) {
            self.forget_decayed(now);
            if self.states.len() >= self.capacity {
                self.evict(now);
            }
            self.order.push_back(key);
        }
        self.states.entry(key).or_default()
    }

    /// Checks the two states at the front of `order`, and removes those that have decayed. One call
    /// for each insertion makes the table shrink after a flood, without a sweep that would hold the
    /// caller's lock for long.
    fn forget_decayed(&mut self, now: Instant) {
        for _ in 0..2 {
            let Some(key) = self.order.pop_front() else { return };
            if self.remaining(now, &key).is_zero() {
                self.states.remove(&key);
            } else {
                self.order.push_back(key);
            }
        }
    }

    fn evict(&mut self, now: Instant) {
        let count = Self::EVICTION_CANDIDATES.min(self.order.len());
        let candidates: Vec<K> = self.order.drain(..count).collect();
        let evicted = candidates.iter().copied().min_by_key(|key| self.remaining(now, key));
        self.order
            .extend(candidates.iter().filter(|key| Some(**key) != evicted));
        if let Some(evicted) = evicted {
            self.states.remove(&evicted);
        }
    }

    fn remaining(&self, now: Instant, key: &K) -> Duration {
        self.states
            .get(key)
            .map_or(Duration::ZERO, |state| state.remaining(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Bucket, Rate};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn table_forgets_decayed_states_and_keeps_the_slowest_to_decay() {
        let rate = Rate::new(1, SECOND).with_burst(100);
        let start = Instant::now();
        let mut table = Table::<u32, Bucket>::new(8);
        for _ in 0..50 {
            table.entry(start, 0).charge(start, &rate);
        }
        for key in 1..=1000 {
            table.entry(start, key).charge(start, &rate);
            assert!(table.len() <= 8);
        }
        assert!(
            table
                .get(&0)
                .is_some_and(|bucket| bucket.remaining(start) == 50 * SECOND),
            "new keys evict the states that decay first"
        );

        let mut table = Table::<u32, Bucket>::new(1000);
        for key in 0..1000 {
            table.entry(start, key).charge(start, &rate);
        }
        for key in 1000..1600 {
            table.entry(start + 2 * SECOND, key).charge(start + 2 * SECOND, &rate);
        }
        assert_eq!(table.len(), 600, "insertions remove decayed states");
    }

    proptest! {
        #[test]
        fn table_is_bounded_and_consistent(keys in prop::collection::vec((0u8..40, 0u64..3), 0..300)) {
            let rate = Rate::new(1, SECOND);
            let mut now = Instant::now();
            let mut table = Table::<u8, Bucket>::new(10);
            for (key, seconds) in keys {
                now += Duration::from_secs(seconds);
                table.entry(now, key).charge(now, &rate);
                prop_assert!(table.len() <= 10);
                prop_assert_eq!(table.order.len(), table.states.len());
                prop_assert!(table.order.iter().all(|key| table.states.contains_key(key)));
                prop_assert!(table.get(&key).is_some());
            }
        }
    }
}
