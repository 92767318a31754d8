//! Detection of peers that do not read the output written to them.

use std::time::{Duration, Instant};

use crate::server::now;

/// Factor for peers that read too slowly: the output that waits at one time has to be read within
/// the limit of the [`StallDetector`] times this factor.
const TRICKLE_FACTOR: u32 = 10;

/// Detects a peer that reads none, or almost none, of the output that waits for it. Output counts
/// as read once the transport has accepted it.
#[derive(Debug)]
pub(super) struct StallDetector {
    /// Maximum time for which the peer may read nothing.
    limit: Duration,
    /// `None` while no output waits.
    waiting: Option<Waiting>,
}

/// Output that waits for the peer.
#[derive(Debug)]
struct Waiting {
    /// Time at which the peer last read some output; at first, the time at which output started to
    /// wait.
    last_progress: Instant,
    /// Start of the time in which the peer has to read the output up to `mark`: the time at which
    /// output started to wait, or at which the peer had read the output up to the previous mark.
    since: Instant,
    /// Number of bytes that had been added to the output at `since`, counted from the end of the
    /// handshake.
    mark: u64,
}

impl StallDetector {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// Records that output waits. `bytes_added` is the number of bytes added to the output since
    /// the end of the handshake. Has no effect if output waits already.
    pub(super) fn begin(&mut self, bytes_added: u64) {
        if self.waiting.is_none() {
            let now = now();
            self.waiting = Some(Waiting {
                last_progress: now,
                since: now,
                mark: bytes_added,
            });
        }
    }

    /// Records that the transport has accepted output: so far `written` of `bytes_added` bytes.
    pub(super) fn progress(&mut self, written: u64, bytes_added: u64) {
        if let Some(waiting) = &mut self.waiting {
            waiting.last_progress = now();
            if written >= waiting.mark {
                waiting.since = waiting.last_progress;
                waiting.mark = bytes_added;
            }
        }
    }

    /// Records that no output waits any more: all of it was written, or writing failed.
    pub(super) const fn end(&mut self) {
        self.waiting = None;
    }

    /// Returns the time at which the peer counts as stalled unless it reads. Returns `None` while
    /// no output waits, or if the limit is too long for an [`Instant`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        let silence_deadline = waiting.last_progress.checked_add(self.limit)?;
        let trickle_deadline = waiting.since.checked_add(self.limit.saturating_mul(TRICKLE_FACTOR))?;
        Some(silence_deadline.min(trickle_deadline))
    }

    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn stall_detector_fires_on_silence_and_on_a_trickle() {
        let mut detector = StallDetector::new(LIMIT);
        let start = Instant::now();
        assert_eq!(detector.deadline(), None);
        detector.begin(1000);
        assert!(!detector.is_stalled(start + LIMIT / 2));
        assert!(detector.is_stalled(start + LIMIT * 2));

        // A byte of progress extends the deadline, but all 1000 bytes have to be read within ten
        // times the limit.
        let waiting = detector.waiting.as_mut().unwrap();
        waiting.since -= LIMIT * 9;
        detector.progress(1, 5000);
        assert!(!detector.is_stalled(start + LIMIT / 2));
        assert!(detector.is_stalled(start + LIMIT + LIMIT / 2));

        // Once these bytes are read, the output behind them has a new deadline.
        detector.progress(1000, 5000);
        assert!(detector.deadline().unwrap() > start + LIMIT - Duration::from_secs(1));
        detector.begin(7000);
        assert_eq!(detector.waiting.as_ref().unwrap().mark, 5000);
        detector.end();
        assert_eq!(detector.deadline(), None);
    }
}
