//! How long a peer may leave unread what is written to it.

use std::time::{Duration, Instant};

use crate::server::now;

/// A peer that takes a byte now and then is no reader: what waited has to be gone within so many times the detector.
const TRICKLE: u32 = 10;

/// Notices a peer that takes nothing, or next to nothing, of what waits to be written.
#[derive(Debug)]
pub(super) struct StallDetector {
    limit: Duration,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// When the peer last took something.
    progress: Instant,
    /// When what waits up to `mark` began to.
    since: Instant,
    /// Bytes of this connection, from its beginning, that were handed over for writing at `since`.
    mark: u64,
}

impl StallDetector {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, waiting: None }
    }

    /// Something waits: `handed_over` bytes were to be written since the connection began. May be called again and again.
    pub(super) fn begin(&mut self, handed_over: u64) {
        if self.waiting.is_none() {
            let begun = now();
            self.waiting = Some(Waiting {
                progress: begun,
                since: begun,
                mark: handed_over,
            });
        }
    }

    /// The peer took something, and has `written` of `handed_over` now.
    pub(super) fn progress(&mut self, written: u64, handed_over: u64) {
        if let Some(waiting) = &mut self.waiting {
            waiting.progress = now();
            if written >= waiting.mark {
                waiting.since = waiting.progress;
                waiting.mark = handed_over;
            }
        }
    }

    /// Nothing waits any more.
    pub(super) const fn end(&mut self) {
        self.waiting = None;
    }

    /// When it is over; `None` while nothing waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        let still = waiting.progress.checked_add(self.limit)?;
        let trickling = waiting.since.checked_add(self.limit.saturating_mul(TRICKLE))?;
        Some(still.min(trickling))
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| now >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn silence_ends_it_and_so_does_a_trickle() {
        let mut detector = StallDetector::new(LIMIT);
        let start = Instant::now();
        assert_eq!(detector.deadline(), None);
        detector.begin(1000);
        assert!(!detector.is_over(start + LIMIT / 2));
        assert!(detector.is_over(start + LIMIT * 2));

        // A byte moves the deadline, but not for ever: 1,000 bytes have to go in ten times the limit.
        let waiting = detector.waiting.as_mut().unwrap();
        waiting.since -= LIMIT * 9;
        detector.progress(1, 5000);
        assert!(!detector.is_over(start + LIMIT / 2));
        assert!(detector.is_over(start + LIMIT + LIMIT / 2));

        // Once they are gone, what came since has its own time.
        detector.progress(1000, 5000);
        assert!(detector.deadline().unwrap() > start + LIMIT - Duration::from_secs(1));
        detector.begin(7000);
        assert_eq!(detector.waiting.as_ref().unwrap().mark, 5000);
        detector.end();
        assert_eq!(detector.deadline(), None);
    }
}
