//! Execution of units of work and reads, with deadlines, circuit breakers and retries, and the
//! tracking of commits whose outcome the store did not report.

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::breaker::{Breaker, Scope};
use super::config::EngineConfig;
use super::error::{CommandError, Rejection};
use super::operation::{Idempotent, Operation, Recorded, WriteIntents};
use crate::clock::Clock;
use crate::model::{ReplyCode, Timestamp};
use crate::router::{Router, UnconfirmedCommit};
use crate::store::{Store, StoreError, StoreExt};
use crate::time::now;

/// Pause before a unit of work is retried; doubles with each further pause up to
/// [`MAX_RETRY_PAUSE`].
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Maximum pause before a unit of work is retried.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Maximum number of runs of a unit of work that ends with [`Rejection::Outdated`].
const MAX_RUNS: u32 = 4;

/// Tracker of commits whose outcome is unknown.
pub(super) trait CommitTracker: Debug + Send + Sync + 'static {
    /// Delivers the events of these commits once the store shows that they were committed.
    fn track_unconfirmed(&self, commits: Vec<UnconfirmedCommit>);
}

impl CommitTracker for Router {
    fn track_unconfirmed(&self, commits: Vec<UnconfirmedCommit>) {
        Self::track_unconfirmed(self, commits);
    }
}

/// Access of the engine to the store. Every call has a deadline. Reads and writes have separate
/// circuit breakers; while a breaker is open, its calls fail at once, except for probes.
#[derive(Debug)]
pub(super) struct StoreAccess {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Breaker of reads. Separate from that of writes, because a store whose disk is full can still
    /// be read.
    reads: Breaker,
    writes: Breaker,
    /// Maximum duration of one call of `read`, `write` or `run`; see
    /// `EngineConfig::request_timeout`.
    timeout: Duration,
    tracker: Box<dyn CommitTracker>,
}

impl StoreAccess {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tracker: impl CommitTracker,
        config: &EngineConfig,
    ) -> Self {
        let breaker = || Breaker::new(config.breaker_threshold, config.breaker_probe_interval);
        Self {
            store,
            clock,
            reads: breaker(),
            writes: breaker(),
            timeout: config.request_timeout,
            tracker: Box::new(tracker),
        }
    }

    /// Returns the store, for the futures that [`StoreAccess::read`] and [`StoreAccess::write`]
    /// run.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Returns the current wall time, which units of work write into the rows.
    pub(super) fn wall_time(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the deadline of a call that starts now.
    pub(super) fn deadline(&self) -> Instant {
        now() + self.timeout
    }

    /// Runs a unit of work that must not be committed twice. It is run again only if it wrote
    /// nothing: here if it ended with [`Rejection::Outdated`], and in the store after a rollback.
    /// If this returns `Ok`, what the unit of work wrote is durable.
    pub(super) async fn run<O>(&self, scope: impl Into<Scope>, operation: O) -> Result<O::Output, CommandError>
    where
        O: Operation + Clone,
    {
        self.run_until(self.deadline(), scope, operation).await
    }

    /// Runs a unit of work like [`run`](Self::run), until the deadline of the request that it is
    /// part of.
    pub(super) async fn run_until<O>(
        &self,
        deadline: Instant,
        scope: impl Into<Scope>,
        operation: O,
    ) -> Result<O::Output, CommandError>
    where
        O: Operation + Clone,
    {
        let scope = scope.into();
        for _ in 0..MAX_RUNS {
            match self.attempt(scope, operation.clone(), deadline).await {
                Err(Rejection::Outdated) => {}
                Err(rejection) => return Err(explain(rejection)),
                Ok(output) => return Ok(output),
            }
        }
        Err(CommandError::busy())
    }

    /// Runs a unit of work that finds the writes of an earlier run. Retries it until the deadline
    /// while the store does not answer, is overloaded, or reports that an idempotency key is used
    /// already.
    ///
    /// `outcome_unknown` is set once a run may have been committed without an answer; the caller
    /// passes it on to later calls. From then on, no error claims that nothing was stored.
    pub(super) async fn run_idempotent<O: Idempotent>(
        &self,
        scope: impl Into<Scope>,
        mut operation: O,
        deadline: Instant,
        outcome_unknown: &mut bool,
    ) -> Result<O::Output, CommandError> {
        let scope = scope.into();
        let mut retried_at_once = false;
        let mut pause = RETRY_PAUSE;
        loop {
            let rejection = match self.attempt(scope, operation.clone(), deadline).await {
                Ok(output) => return Ok(output),
                Err(rejection) => rejection,
            };
            match &rejection {
                Rejection::Store(StoreError::Unavailable(_)) => *outcome_unknown = true,
                Rejection::Store(StoreError::Overloaded) => {}
                // If an earlier run has stored the events, the next run finds them, so it starts
                // without a pause. Otherwise another transaction is using the same idempotency
                // keys, and the second retry waits.
                Rejection::Store(StoreError::AlreadySent) => {
                    operation.look_first();
                    if !retried_at_once && now() + pause < deadline {
                        retried_at_once = true;
                        continue;
                    }
                }
                _ => return Err(explain_unknown(rejection, *outcome_unknown)),
            }
            if now() + pause >= deadline {
                return Err(explain_unknown(rejection, *outcome_unknown));
            }
            operation.look_first();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_RETRY_PAUSE);
        }
    }

    /// Runs a unit of work once, and tracks its events if the store did not report the outcome.
    async fn attempt<O>(&self, scope: Scope, operation: O, deadline: Instant) -> Result<O::Output, Rejection>
    where
        O: Operation,
    {
        if !self.writes.admits(now()) {
            return Err(CommandError::store_unavailable().into());
        }
        let intents = TrackedIntents::new(&*self.tracker);
        let recorded = Recorded {
            operation,
            intents: intents.intents.clone(),
        };
        let answer = timeout_at(deadline.into(), self.store.run(recorded)).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out().into()));
        let error = answer.as_ref().err().and_then(|rejection| match rejection {
            Rejection::Store(error) => Some(error),
            _ => None,
        });
        self.writes.record(scope, error);
        match error {
            // The transaction may have been committed nevertheless, or may be a little later.
            Some(StoreError::Unavailable(_)) => drop(intents),
            Some(_) => intents.forget(),
            None => {
                intents.forget();
                // A store that can be written can be read.
                self.reads.record(scope, None);
            }
        }
        answer
    }

    /// Reads from the store, within the deadline.
    pub(super) async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, CommandError> {
        if !self.reads.admits(now()) {
            return Err(CommandError::store_unavailable());
        }
        let answer = timeout_at(self.deadline().into(), read).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        self.reads.record(Scope::NoSharedRows, answer.as_ref().err());
        answer.map_err(|error| {
            let is_unavailable = matches!(error, StoreError::Unavailable(_));
            let explained = explain(error.into());
            // A failed unit of work may have stored something, and its error says so. A read
            // changes nothing.
            if is_unavailable {
                CommandError::store_unavailable()
            } else {
                explained
            }
        })
    }

    /// Runs a write that appends no events, within the deadline. Does not retry it, and does not
    /// log its error. If the breaker of writes does not admit the call, returns `None` and does not
    /// poll `write`.
    pub(super) async fn write<T>(
        &self,
        scope: Scope,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<Result<T, StoreError>> {
        if !self.writes.admits(now()) {
            return None;
        }
        let answer = timeout_at(self.deadline().into(), write).await;
        let answer = answer.unwrap_or_else(|_| Err(timed_out()));
        self.writes.record(scope, answer.as_ref().err());
        Some(answer)
    }
}

/// Returns the result of a read that is part of a longer request, or `TryAgain` if the deadline of
/// the request passes first.
pub(super) async fn within<T>(
    deadline: Instant,
    read: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let answer = timeout_at(deadline.into(), read).await;
    answer.unwrap_or_else(|_| Err(CommandError::try_again()))
}

/// [Intents](WriteIntents) of a unit of work whose outcome is not known yet. Unless they are
/// [forgotten](Self::forget), they are tracked as unconfirmed when this is dropped, also if the
/// future that runs the unit of work is dropped or panics before the store has answered.
struct TrackedIntents<'a> {
    intents: WriteIntents,
    tracker: &'a dyn CommitTracker,
}

impl<'a> TrackedIntents<'a> {
    fn new(tracker: &'a dyn CommitTracker) -> Self {
        Self {
            intents: WriteIntents::default(),
            tracker,
        }
    }

    /// Forgets the intents, because the outcome is known.
    fn forget(self) {
        self.intents.take();
    }
}

impl Drop for TrackedIntents<'_> {
    fn drop(&mut self) {
        let intents = self.intents.take();
        if !intents.is_empty() {
            self.tracker.track_unconfirmed(intents);
        }
    }
}

fn timed_out() -> StoreError {
    StoreError::unavailable("the request timed out")
}

/// Turns a rejection into the error of the command, like [`explain`]. If `outcome_unknown` is set,
/// an earlier run may have been committed, and the error does not claim that nothing was stored.
fn explain_unknown(rejection: Rejection, outcome_unknown: bool) -> CommandError {
    match explain(rejection) {
        // A retry looks for its earlier writes before it refuses, so its other errors are final.
        error if outcome_unknown && matches!(error.code, ReplyCode::Busy | ReplyCode::TryAgain) => {
            CommandError::try_again()
        }
        error => error,
    }
}

/// Turns a rejection into the error of the command. Errors of the store are logged here, with their
/// causes.
fn explain(rejection: Rejection) -> CommandError {
    match rejection {
        Rejection::Command(error) => error,
        Rejection::Outdated => CommandError::busy(),
        Rejection::Store(error) => {
            if error.is_retryable() {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "a request to the store failed, but a retry may succeed"
                );
            } else {
                tracing::error!(
                    error = &error as &dyn Error,
                    "a request to the store failed, and a retry would fail too"
                );
            }
            error.into()
        }
    }
}
