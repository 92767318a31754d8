//! Random spread for timers, so that nodes that started together do not act together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Returns a random duration between `interval * low` and `interval * high`. Makes a system call
/// only at the first use on a thread. The result may be predictable, so it must not be used for
/// secrets.
#[must_use]
pub fn spread(interval: Duration, low: f64, high: f64) -> Duration {
    interval.mul_f64(low + (high - low) * fraction())
}

/// Returns a random number in `0.0..1.0`. Each `RandomState` has different keys, derived from
/// random numbers of the operating system, so hashing a constant returns a different number at
/// every call.
fn fraction() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_stays_within_its_bounds_and_varies() {
        let interval = Duration::from_secs(30);
        let all: Vec<_> = (0..1000).map(|_| spread(interval, 0.5, 1.5)).collect();
        assert!(all.iter().all(|one| (interval / 2..=interval * 3 / 2).contains(one)));
        let early = all.iter().filter(|one| **one < interval).count();
        assert!((300..=700).contains(&early), "{early} of 1000 are below the middle");
    }
}
