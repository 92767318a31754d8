//! [`pause`]: the only function of the harness that blocks a thread for a fixed time.

use std::time::Duration;

/// Blocks the thread for `time`. Meant for plans of faults, which determine the duration of each
/// fault and of the time between two faults.
pub fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "no event marks the end of a fault, and no thread of a runtime is blocked"
    )]
    std::thread::sleep(time);
}
