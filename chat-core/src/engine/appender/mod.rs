//! Group commit: drafts of all sessions are collected, sorted by conversation, and committed in
//! batches.
//!
//! ```text
//! commands ─► queue ─► driver ─► machine ─► prepare (names, hooks; only where needed)
//!                                   └─► lane of the conversation ─► one transaction at a time
//!                                                                     └─► router ─► replies
//! ```
//!
//! One task does all of it; nothing is spawned for a message. A lane collects while its commit is
//! in flight, so an idle server adds no delay and a busy one makes large batches. Other changes of
//! a group run in its lane too, so that a session's commands take effect in the order in which it
//! sent them; for the same reason a session's submissions are prepared one at a time. After a draft
//! was refused temporarily, later drafts of its session are refused until it has been resent.
//!
//! `machine` decides and does no I/O; `driver` is the task around it; `work` is what runs against
//! the store.

mod driver;
mod lane;
mod lanes;
mod machine;
mod queue;
mod resend_order;
mod submission;
#[cfg(test)]
mod tests;
mod work;

pub(super) use queue::AppendQueue;
pub(super) use resend_order::DeferredDraft;
pub(super) use submission::LaneOperation;

use std::sync::Arc;

use super::core::Core;

/// Runs the appender until the engine drains and everything that was queued is answered.
pub(super) async fn run(core: Arc<Core>) {
    let ports = work::EnginePorts {
        core: Arc::clone(&core),
    };
    let limits = lane::LaneLimits::from(&core.config);
    let driver = driver::Driver::new(ports, &core.appends, limits, core.config.resend_window);
    driver.run(core.draining.clone()).await;
}
