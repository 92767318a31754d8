//! Throttled log lines, for warnings that many connections can cause at once.

use std::time::{Duration, Instant};

use crate::sync::Mutex;

/// Minimum time between two log lines of one throttle.
const INTERVAL: Duration = Duration::from_secs(10);

/// Limits a log line to one every ten seconds. The first occurrence is logged at once; each later
/// line contains the number of occurrences since the previous line.
#[derive(Debug, Default)]
pub(super) struct LogThrottle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_logged: Option<Instant>,
    /// Number of occurrences since the last log line.
    occurrences: u64,
}

impl LogThrottle {
    /// Counts one occurrence. If a log line is due, returns the number of occurrences since the
    /// previous line.
    pub(super) fn count_occurrence(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        state.occurrences = state.occurrences.saturating_add(1);
        let logged_lately = |logged| now.saturating_duration_since(logged) < INTERVAL;
        if state.last_logged.is_some_and(logged_lately) {
            return None;
        }
        state.last_logged = Some(now);
        Some(std::mem::take(&mut state.occurrences))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_throttle_counts_every_occurrence_and_logs_one_in_ten_seconds() {
        let throttle = LogThrottle::default();
        let start = Instant::now();
        assert_eq!(throttle.count_occurrence(start), Some(1));
        for millis in 0..1000 {
            assert_eq!(throttle.count_occurrence(start + Duration::from_millis(millis)), None);
        }
        assert_eq!(throttle.count_occurrence(start + INTERVAL), Some(1001));
        assert_eq!(throttle.count_occurrence(start + INTERVAL + INTERVAL / 2), None);
        assert_eq!(throttle.count_occurrence(start + INTERVAL * 3), Some(2));
    }
}
