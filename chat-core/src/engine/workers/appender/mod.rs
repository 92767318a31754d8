//! Group commit: the appender collects the drafts of all sessions, sorts them by conversation, and
//! commits them in batches.
//!
//! ```text
//! commands ─► queue ─► driver ─► machine ─► prepare (names, hooks, checks; only where needed)
//!                                   └─► lane of the conversation ─► one transaction at a time
//!                                                                     └─► router ─► replies
//! ```
//! One task runs the appender; no task is spawned for a message. A lane is the queue of one
//! conversation. It collects drafts while a commit is in flight, so an idle server adds no delay
//! and a busy one makes large batches. Other changes of a group run in its lane too, so that a
//! session's commands take effect in the order in which it sent them; for the same reason a
//! session's submissions are prepared one at a time. After a draft was refused temporarily, later
//! drafts of its session to the same conversation are refused until it has been resent, or until
//! `EngineConfig::resend_window` has passed.
//!
//! `submission` defines the drafts and changes that wait in the `queue`. `machine` is a state
//! machine without I/O, and `driver` is the task that runs it. `lanes` holds the lanes, and
//! `resend_order` remembers which refused drafts have to be resent. `work` runs the work that the
//! machine returns: it commits batches and runs changes. `prepare` contains the third kind of
//! work: it looks up or opens conversations, asks the hooks, and runs the checks of changes.

mod driver;
mod lane;
mod lanes;
mod machine;
mod prepare;
mod queue;
mod resend_order;
mod submission;
#[cfg(test)]
mod tests;
mod work;

pub(in crate::engine) use queue::AppendQueue;
pub(in crate::engine) use resend_order::{DraftIdentity, is_temporary};
pub(in crate::engine) use submission::{LaneChange, LaneCheck};

pub(in crate::engine) use work::AppendPorts;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::driver::Driver;
use self::lane::LaneLimits;
use self::work::EnginePorts;
use crate::engine::config::EngineConfig;

/// Worker that appends drafts and runs group changes.
#[derive(Debug)]
pub(in crate::engine) struct AppendWorker {
    queue: Arc<AppendQueue>,
    ports: AppendPorts,
    limits: LaneLimits,
    resend_window: Duration,
}

impl AppendWorker {
    pub(in crate::engine) fn new(queue: Arc<AppendQueue>, ports: AppendPorts, config: &EngineConfig) -> Self {
        Self {
            queue,
            ports,
            limits: LaneLimits::from(config),
            resend_window: config.resend_window,
        }
    }

    /// Runs until the engine drains and every queued submission is answered.
    pub(in crate::engine) async fn run(self, draining: CancellationToken) {
        let ports = EnginePorts(Arc::new(self.ports));
        let driver = Driver::new(ports, &self.queue, self.limits, self.resend_window);
        driver.run(draining).await;
    }
}
