//! [`SeededRng`]: reproducible random numbers.

use std::time::Duration;

/// Random number generator whose seed determines its sequence (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub struct SeededRng(u64);

impl SeededRng {
    /// Creates a generator with this seed. Equal seeds give equal sequences.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `end` and below 2^31; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end.max(1)
    }

    /// Returns true with the probability `probability`, from 0 to 1, rounded up to a multiple of
    /// 2^-20.
    pub fn chance(&mut self, probability: f64) -> bool {
        const CASES: u64 = 1 << 20;
        probability > 0.0 && (self.below(CASES) as f64) < probability * CASES as f64
    }

    /// Returns a duration from `min` up to, but not including, `max`, in steps of a millisecond;
    /// `min` if they are less than a millisecond apart.
    ///
    /// # Panics
    /// If `max` is less than `min`.
    pub fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let range = u64::try_from((max - min).as_millis()).unwrap_or(u64::MAX);
        min + Duration::from_millis(self.below(range))
    }
}
