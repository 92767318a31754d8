//! Warnings about what may happen to many connections at once.

use std::time::{Duration, Instant};

use crate::sync::Mutex;

/// Time between two warnings of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Says how often something has happened: at once the first time, then every ten seconds at most, with all that came meanwhile.
#[derive(Debug, Default)]
pub(super) struct LogThrottle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    times: u64,
}

impl LogThrottle {
    /// It has happened. Yields how often since the last time it was said, if it is time to say it.
    pub(super) fn hit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        state.times = state.times.saturating_add(1);
        if state
            .said
            .is_some_and(|said| now.saturating_duration_since(said) < PAUSE)
        {
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_now_and_then_and_counted_whole() {
        let throttle = LogThrottle::default();
        let start = Instant::now();
        assert_eq!(throttle.hit(start), Some(1));
        for millis in 0..1000 {
            assert_eq!(throttle.hit(start + Duration::from_millis(millis)), None);
        }
        assert_eq!(throttle.hit(start + PAUSE), Some(1001));
        assert_eq!(throttle.hit(start + PAUSE + PAUSE / 2), None);
        assert_eq!(throttle.hit(start + PAUSE * 3), Some(2));
    }
}
