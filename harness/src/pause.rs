//! [`pause`]: the only place of the harness that sleeps.

use std::time::Duration;

/// Blocks the thread for `time`. Meant for plans of faults, where the duration of a fault, or of
/// the calm between two, is part of the plan.
pub fn pause(time: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "no event marks the end of a fault, and no thread of a runtime is blocked"
    )]
    std::thread::sleep(time);
}
