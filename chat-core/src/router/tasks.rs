//! The lifetime of the router's tasks.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The router's tasks. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop,
        }
    }

    /// Starts a task on the current tokio runtime. When the tasks are stopped, it ends at its next
    /// await.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.stop.clone().run_until_cancelled_owned(task);
        self.tracker.spawn(task);
    }

    /// Ends the tasks without waiting for them.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends the tasks and waits for them. Idempotent.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
