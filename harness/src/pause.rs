//! [`pause`]: the only function of the harness that blocks a thread for a fixed time.

use std::time::Duration;

/// Blocks the thread for `time`. Use it only for the duration of a fault, for the time between two
/// faults, and between two checks of a state that no event announces.
pub fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "no event marks the end of the wait")]
    std::thread::sleep(time);
}
