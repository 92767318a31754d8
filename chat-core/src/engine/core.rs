//! What every part of an engine shares.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::appender::AppendQueue;
use super::breaker::{Breaker, Scope};
use super::config::EngineConfig;
use super::cursors::CursorQueue;
use super::directory::Directory;
use super::doubts::Doubts;
use super::error::{CommandError, Refusal};
use super::limits::UserLimits;
use super::observer::Observer;
use super::operation::{Operation, Recorded, WriteIntents};
use super::presence::PresenceQueue;
use super::readiness;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::cluster::Presence;
use crate::hooks::Hooks;
use crate::model::{Event, ReplyCode, StoreEpoch, Timestamp};
use crate::router::Router;
use crate::store::{Store, StoreError, StoreExt};
use crate::time::now;

/// The shared state of an engine: ports, limits, and the queues of its tasks. It knows nothing of the tasks themselves, so that
/// they can hold it without keeping each other alive.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) store: Arc<dyn Store>,
    pub(super) presence: Arc<dyn Presence>,
    pub(super) authenticator: Arc<dyn Authenticator>,
    /// Absent: no hook has to be asked.
    pub(super) hooks: Option<Arc<dyn Hooks>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: EngineConfig,
    pub(super) router: Router,
    pub(super) epoch: StoreEpoch,
    /// Apart, because a full disk can still be read.
    pub(super) reads: Breaker,
    pub(super) writes: Breaker,
    pub(super) limits: UserLimits,
    pub(super) directory: Directory,
    pub(super) appends: AppendQueue,
    pub(super) doubts: Doubts,
    pub(super) cursors: CursorQueue,
    pub(super) presences: PresenceQueue,
    pub(super) readiness: readiness::State,
    pub(super) observer: Observer,
    /// Commands that may run at a time.
    pub(super) places: Arc<Semaphore>,
    /// Every task of the engine.
    pub(super) tasks: TaskTracker,
    /// Nothing new is begun; what was begun is finished.
    pub(super) draining: CancellationToken,
    /// Everything ends where it stands.
    pub(super) stop: CancellationToken,
}

/// Wait before a batch is tried again; doubles from one attempt to the next.
const RETRY: Duration = Duration::from_millis(25);

/// Times that a unit of work is run again because what it had looked at before its locks had changed.
const MOVES: u32 = 4;

/// A unit of work that may be run again after it was committed: it finds what it wrote.
pub(super) trait Idempotent: Operation + Clone {
    /// Something of it may be stored already: the next run is to look before it writes.
    fn look_first(&mut self) {}
}

impl Core {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// When a request that came in now is given up.
    pub(super) fn deadline(&self) -> Instant {
        now() + self.config.request_timeout
    }

    /// Runs a unit of work once. What it wrote is durable when this returns.
    pub(super) async fn run<O>(&self, about: impl Into<Scope>, operation: O) -> Result<O::Output, CommandError>
    where
        O: Operation + Clone,
    {
        let about = about.into();
        let deadline = self.deadline();
        for _ in 0..MOVES {
            match self.attempt(about, operation.clone(), deadline).await {
                Err(Refusal::Moved) => {}
                Err(refusal) => return Err(explain(refusal)),
                Ok(output) => return Ok(output),
            }
        }
        Err(CommandError::busy())
    }

    /// Runs a unit of work that finds what an earlier run of it wrote: again, until the deadline, if it cannot be known whether it
    /// was committed. `doubt` says whether this was so of any run, also of earlier calls: then no failure says that nothing was
    /// done.
    pub(super) async fn run_idempotent<O: Idempotent>(
        &self,
        about: impl Into<Scope>,
        mut operation: O,
        deadline: Instant,
        doubt: &mut bool,
    ) -> Result<O::Output, CommandError> {
        let about = about.into();
        let mut surprised = false;
        let mut wait = RETRY;
        loop {
            let refusal = match self.attempt(about, operation.clone(), deadline).await {
                Ok(output) => return Ok(output),
                Err(refusal) => refusal,
            };
            match &refusal {
                Refusal::Store(StoreError::Unavailable(_)) => *doubt = true,
                Refusal::Store(StoreError::Overloaded) => {}
                // A retry: the next run sees it, at once. Or others use its keys at the same time: then in a while.
                Refusal::Store(StoreError::AlreadySent) => {
                    operation.look_first();
                    if !surprised && now() + wait < deadline {
                        surprised = true;
                        continue;
                    }
                }
                _ => return Err(explain_in_doubt(refusal, *doubt)),
            }
            if now() + wait >= deadline {
                return Err(explain_in_doubt(refusal, *doubt));
            }
            operation.look_first();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }

    async fn attempt<O>(&self, about: Scope, operation: O, deadline: Instant) -> Result<O::Output, Refusal>
    where
        O: Operation,
    {
        if !self.writes.admits(now()) {
            return Err(CommandError::try_again().into());
        }
        let intents = WriteIntents::default();
        let recorded = Recorded {
            operation,
            intents: intents.clone(),
        };
        let answer = timeout_at(deadline.into(), self.store.run(recorded)).await;
        let answer = answer.unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time").into()));
        let error = answer.as_ref().err().and_then(|refusal| match refusal {
            Refusal::Store(error) => Some(error),
            _ => None,
        });
        self.writes.note(about, error);
        if let Some(StoreError::Unavailable(_)) = error {
            // It may have been committed all the same, now or a little later.
            self.router.track_unconfirmed(intents.take());
        }
        if error.is_none() {
            self.reads.note(about, None); // whoever writes can be read
        }
        answer
    }

    /// Reads from the store, within the deadline.
    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
        if !self.reads.admits(now()) {
            return Err(CommandError::try_again());
        }
        let answer = timeout_at(self.deadline().into(), read).await;
        let answer = answer.unwrap_or_else(|_| Err(StoreError::unavailable("it did not answer in time")));
        self.reads.note(Scope::Alone, answer.as_ref().err());
        answer.map_err(|error| explain(error.into()))
    }

    /// Tells everybody what was committed: sessions here, other nodes, and whoever observes.
    pub(super) fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.router.committed(&events);
            self.observer.committed(events);
        }
    }

    /// Runs a command in a task of its own, so that nothing cancels it half-way when whoever asked goes away.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, CommandError>> {
        if self.draining.is_cancelled() {
            return refused(CommandError::shutting_down());
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return refused(CommandError::busy());
        };
        let (answer, answered) = oneshot::channel();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let result = stop.run_until_cancelled(contain(work)).await;
            drop(place);
            let _ = answer.send(result.unwrap_or_else(|| Err(CommandError::try_again())));
        });
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(CommandError::try_again())) })
    }
}

/// An answer that is there already.
pub(super) fn refused<T: Send + 'static>(error: CommandError) -> BoxFuture<'static, Result<T, CommandError>> {
    Box::pin(std::future::ready(Err(error)))
}

/// Turns a panic into an error.
pub(super) async fn contain<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "a command panicked");
        Err(CommandError::internal())
    })
}

/// What a panic said.
pub(super) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// The words for a refusal of something that an earlier run may have done.
fn explain_in_doubt(refusal: Refusal, doubt: bool) -> CommandError {
    match explain(refusal) {
        // The unit looks for what it wrote before it decides: its decisions hold.
        error if doubt && matches!(error.code, ReplyCode::Busy | ReplyCode::TryAgain) => CommandError::try_again(),
        error => error,
    }
}

/// The words for a refusal; defects are logged here, where they become an answer.
pub(super) fn explain(refusal: Refusal) -> CommandError {
    match refusal {
        Refusal::Command(error) => error,
        Refusal::Moved => CommandError::busy(),
        Refusal::Store(error) => {
            if error.is_retryable() {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store failed");
            } else {
                tracing::error!(error = &error as &dyn std::error::Error, "the store is broken");
            }
            error.into()
        }
    }
}
