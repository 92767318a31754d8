//! [`Queries`]: execution of commands that only read the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use super::caller_check::check_caller;
use super::error::CommandError;
use super::lifecycle::Lifecycle;
use super::panics::contain;
use super::query_lanes::{QueryLanes, QueryPermit};
use super::store_access::{StoreAccess, within};
use crate::model::Caller;
use crate::router::Router;
use crate::service::CommandResult;

/// Time by which the limit on all reads of a query exceeds that on one read, so that the first read
/// of a store that hangs reaches its own limit, which the circuit breaker counts.
const FIRST_READ_MARGIN: Duration = Duration::from_millis(100);

/// Executes commands that have no unit of work. A unit of work contains a fence, the check that the
/// caller may still act; here the caller is checked before the command. A session of this node may
/// act until its outbox is closed, which is checked without a read of the store. Other callers are
/// checked in the store.
///
/// If the session ends while the command runs, the caller gets the answer only if the login is
/// still valid.
#[derive(Debug)]
pub(super) struct Queries {
    pub(super) access: Arc<StoreAccess>,
    pub(super) router: Router,
    pub(super) lifecycle: Lifecycle,
    pub(super) lanes: QueryLanes,
}

impl Queries {
    /// Executes a query in its user's [lane](QueryLanes), in a separate task: a caller that does
    /// not poll the future delays no other query of the user.
    ///
    /// # Errors
    /// Those of the query, and those of [`check_caller`]. `Busy` if the query still waits for its
    /// turn at the deadline, or would have to. `TryAgain` if it has begun and has no answer at the
    /// deadline, when the limit on all of its reads is reached, or when the engine stops.
    /// `ShuttingDown` if the engine drains while the query waits.
    ///
    /// # Cancel safety
    /// If the future is dropped, a query that waits for its turn is not executed. A query that
    /// already reads the store runs on, and ends its turn when the store has answered or the limit
    /// on its reads is reached, because the store may still be working on it.
    pub(super) async fn run<F>(
        self: Arc<Self>,
        caller: Caller,
        deadline: Instant,
        query: impl FnOnce(QueryPermit) -> F + Send + 'static,
    ) -> CommandResult
    where
        F: Future<Output = CommandResult> + Send + 'static,
    {
        let abandoned = CancellationToken::new();
        let _abandons_when_dropped = abandoned.clone().drop_guard();
        let has_entered = Arc::new(AtomicBool::new(false));
        let (queries, entered) = (Arc::clone(&self), Arc::clone(&has_entered));
        let work = async move {
            let permit = tokio::select! {
                // The order of the branches matters: a query whose future was dropped before its
                // turn is not executed, and a query whose turn has come is not refused because the
                // engine shuts down.
                biased;
                () = abandoned.cancelled() => return Err(CommandError::try_again()),
                permit = queries.lanes.enter(caller, deadline) => permit?,
                () = queries.lifecycle.draining().cancelled() => return Err(CommandError::shutting_down()),
            };
            entered.store(true, Ordering::Relaxed);
            // All reads of the query together may take only slightly longer than a single read may.
            // Otherwise a query would wait for a hanging store once for each of its reads.
            let latest = queries.access.deadline() + FIRST_READ_MARGIN;
            within(latest, queries.run_checked(caller, async move { query(permit).await })).await
        };
        // A query whose turn has come has waited for it until the deadline at most, so the task
        // outlasts the deadline only while the store does not answer.
        let answer = timeout_at(deadline.into(), self.lifecycle.spawn_query(work)).await;
        answer.unwrap_or_else(|_| match has_entered.load(Ordering::Relaxed) {
            true => Err(CommandError::try_again()),
            false => Err(CommandError::busy()),
        })
    }

    /// Executes a command that reads at most a few rows, in the task of the caller, and without
    /// waiting for other queries of the user.
    pub(super) async fn run_at_once(
        self: Arc<Self>,
        caller: Caller,
        command: impl Future<Output = CommandResult> + Send,
    ) -> CommandResult {
        contain(self.run_checked(caller, command)).await
    }

    /// Runs a command after a check that the caller may act. If the caller's session ends while the
    /// command runs, checks the caller again before the answer is returned.
    async fn run_checked(&self, caller: Caller, command: impl Future<Output = CommandResult> + Send) -> CommandResult {
        let had_session = self.router.has_session(caller);
        if !had_session {
            check_caller(&self.access, caller).await?;
        }
        let answer = command.await;
        if had_session && !self.router.has_session(caller) {
            check_caller(&self.access, caller).await?;
        }
        answer
    }
}
