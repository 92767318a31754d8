//! The wall-clock time, for the outbox and the handshake.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// Returns the wall-clock time that the outbox stores.
pub(super) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Returns the seconds since 1970, for the handshake.
pub(super) fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
