//! Tasks of an engine and their shutdown.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::CommandError;
use super::panics::contain;
use crate::panics;

/// Starts the tasks of an engine, and ends them in two steps: draining refuses new commands and
/// lets running ones finish, and stopping cancels every task.
#[derive(Clone, Debug)]
pub(super) struct Lifecycle {
    tasks: TaskTracker,
    draining: CancellationToken,
    stop: CancellationToken,
    /// One permit for each command that may run in a separate task at the same time.
    permits: Arc<Semaphore>,
}

impl Lifecycle {
    pub(super) fn new(max_concurrent_commands: usize) -> Self {
        Self {
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
            permits: Arc::new(Semaphore::new(max_concurrent_commands)),
        }
    }

    /// Returns whether new commands are refused.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Returns the token that is cancelled when draining starts.
    pub(super) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Returns the token that is cancelled when [`stop`](Self::stop) cancels the tasks.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a worker in a separate task until it ends or the engine stops. A panic of the worker is
    /// logged with its name.
    pub(super) fn spawn_worker(&self, name: &'static str, worker: impl Future<Output = ()> + Send + 'static) {
        let worker = async move {
            panics::run_worker(name, worker).await;
        };
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(worker));
    }

    /// Runs a command in a separate task, so that a caller that drops the future does not cancel
    /// the command. Refuses it with `ShuttingDown` once the engine drains, and with `Busy` if the
    /// maximum number of commands is running. A panic of the command becomes an internal error; if
    /// the engine stops before the command has ended, the error is `TryAgain`.
    pub(super) fn spawn_command<T: Send + 'static>(
        &self,
        command: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, CommandError>> {
        if self.is_draining() {
            return ready_err(CommandError::shutting_down());
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return ready_err(CommandError::busy());
        };
        self.spawn_answering(async move {
            let result = contain(command).await;
            drop(permit);
            result
        })
    }

    /// Runs a query, or the check of a mark, in a separate task, so that it does not depend on a
    /// caller that polls the future. Unlike a command, it needs no permit, because the queries of
    /// one user take turns and a check reads few rows; and it is not refused while the engine
    /// drains.
    pub(super) fn spawn_query<T: Send + 'static>(
        &self,
        query: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, CommandError>> {
        self.spawn_answering(contain(query))
    }

    /// Runs work in a separate task, and returns its answer, or `TryAgain` if the engine stops
    /// first.
    fn spawn_answering<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, CommandError>> {
        let (reply, answer) = oneshot::channel();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let result = stop.run_until_cancelled(work).await;
            let _ = reply.send(result.unwrap_or_else(|| Err(CommandError::try_again())));
        });
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(CommandError::try_again())) })
    }

    /// Starts draining: from now on, new commands are refused. Idempotent.
    pub(super) fn drain(&self) {
        self.draining.cancel();
        self.tasks.close();
    }

    /// Cancels every task. Idempotent.
    pub(super) fn stop(&self) {
        self.drain();
        self.stop.cancel();
    }

    /// Waits until every task has ended. Does not return before [`drain`](Self::drain) was called.
    pub(super) async fn ended(&self) {
        self.tasks.wait().await;
    }
}

/// Returns a future that is ready with an error.
fn ready_err<T: Send + 'static>(error: CommandError) -> BoxFuture<'static, Result<T, CommandError>> {
    Box::pin(std::future::ready(Err(error)))
}
