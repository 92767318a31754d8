//! The lifetime of the router's tasks.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::panics;

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

    /// Starts a worker on the current tokio runtime. When the tasks are stopped, the worker ends at
    /// its next await. A worker that ends earlier is logged under its name, because its work is no
    /// longer done.
    pub(crate) fn spawn(&self, name: &'static str, worker: impl Future<Output = ()> + Send + 'static) {
        let worker = async move {
            if panics::run_worker(name, worker).await {
                tracing::error!(worker = name, "a worker of the router has ended unexpectedly");
            }
        };
        let worker = self.stop.clone().run_until_cancelled_owned(worker);
        self.tracker.spawn(worker);
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
