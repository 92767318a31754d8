//! The monotonic clock.

use std::time::Instant;

/// Returns the time by tokio's clock, which tests can stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
