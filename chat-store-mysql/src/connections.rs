//! Connections to the database: their limits, and the deadline of each request.

use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use chat_core::store::StoreError;
use mysql_async::{Conn, Opts};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Options;
use crate::error::{closed, timed_out};
use crate::pool::Pool;

/// Maximum time that closing the store waits for running requests, and then for its connections to
/// close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// [`Pool`] behind bounded gates, because the queue of the driver has neither a bound nor a
/// deadline. Reads and writes have separate gates, so that writes that wait for a locked
/// conversation cannot occupy every connection.
#[derive(Debug)]
pub(crate) struct Connections {
    pool: Pool,
    pub(crate) reads: Gate,
    pub(crate) writes: Gate,
    request_timeout: Duration,
}

/// Semaphore with a bounded number of waiting requests.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Semaphore,
    /// Number of permits, one for each connection.
    size: u32,
    /// Number of requests that wait for a permit.
    waiting: AtomicU32,
    max_waiting: u32,
    is_closed: AtomicBool,
    /// The reason for which the gate rejects all requests, even those that wait. Empty if it admits
    /// requests, or has only been closed.
    rejection: OnceLock<&'static str>,
}

/// A connection from the pool, for one request. Dropping it returns it to the pool, or closes it if
/// its request was interrupted.
#[derive(Debug)]
pub(crate) struct PooledConnection<'a> {
    conn: Conn,
    _permit: SemaphorePermit<'a>,
}

impl PooledConnection<'_> {
    /// Closes the connection instead of returning it to the pool. The pool later opens a new
    /// connection in its place, to the server that the address then resolves to.
    pub(crate) async fn close(self) {
        if let Err(error) = self.conn.disconnect().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a connection did not close cleanly"
            );
        }
    }
}

impl Deref for PooledConnection<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for PooledConnection<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Gate {
    fn new(size: u32, max_waiting: u32) -> Self {
        let size = size.max(1);
        Self {
            permits: Semaphore::new(size as usize),
            size,
            waiting: AtomicU32::new(0),
            max_waiting,
            is_closed: AtomicBool::new(false),
            rejection: OnceLock::new(),
        }
    }

    /// Fails if new requests are rejected.
    fn check_open(&self) -> Result<(), StoreError> {
        self.check_rejection()?;
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        Ok(())
    }

    fn check_rejection(&self) -> Result<(), StoreError> {
        let reason = self.rejection.get();
        reason.map_or(Ok(()), |reason| Err(StoreError::unavailable(*reason)))
    }

    /// Waits for a permit. Fails with [`StoreError::Overloaded`] if `max_waiting` requests wait
    /// already, and with [`StoreError::Unavailable`] if the gate is closed or rejects all requests.
    async fn enter(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.check_open()?;
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        let _waiting = WaitingRequest(&self.waiting);
        let permit = self.permits.acquire().await.map_err(|_| closed())?;
        self.check_rejection()?;
        Ok(permit)
    }

    /// Rejects new requests, and waits at most [`CLOSE_TIMEOUT`] until the admitted ones have
    /// ended. Requests that still wait for a permit then fail.
    async fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // Waiting requests were admitted before the gate closed, so they run too.
        if let Ok(all) = timeout(CLOSE_TIMEOUT, self.permits.acquire_many(self.size)).await {
            drop(all);
        }
        self.permits.close();
    }
}

/// Guard of a request that was counted as waiting. Dropping it ends the count of the request.
struct WaitingRequest<'a>(&'a AtomicU32);

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(driver_options: Opts, options: &Options) -> Self {
        Self {
            pool: Pool::new(driver_options),
            reads: Gate::new(options.read_connections, options.max_waiting),
            writes: Gate::new(options.write_connections, options.max_waiting),
            request_timeout: options.request_timeout,
        }
    }

    /// Returns the deadline of a request that begins now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.request_timeout
    }

    /// Waits for a permit of `gate` and for a connection.
    pub(crate) async fn acquire<'a>(&'a self, gate: &'a Gate) -> Result<PooledConnection<'a>, StoreError> {
        let permit = gate.enter().await?;
        let conn = self.pool.connection().await?;
        Ok(PooledConnection { conn, _permit: permit })
    }

    /// Waits for a connection for a read.
    pub(crate) async fn reader(&self) -> Result<PooledConnection<'_>, StoreError> {
        self.acquire(&self.reads).await
    }

    /// Runs all the work of a request. At its deadline, drops the work and fails with
    /// [`StoreError::Unavailable`]. After a success, [records](Self::record_answer) that the
    /// database has answered. A time limit around a part of a request would be unsafe: see the
    /// [crate].
    pub(crate) async fn with_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = timeout_at(self.deadline(), work)
            .await
            .unwrap_or_else(|_| Err(timed_out()));
        if done.is_ok() {
            self.pool.record_answer();
        }
        done
    }

    /// Records that the database has answered.
    pub(crate) fn record_answer(&self) {
        self.pool.record_answer();
    }

    /// Rejects all requests for this reason from now on, except those that have a permit.
    pub(crate) fn reject_requests(&self, reason: &'static str) {
        for gate in [&self.reads, &self.writes] {
            let _ = gate.rejection.set(reason); // the first reason is kept
        }
    }

    /// Fails if requests are rejected, because the store was closed or for another reason.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        self.reads.check_open()
    }

    /// Waits for the running requests to end, then closes the connections. Each of the two steps
    /// takes at most [`CLOSE_TIMEOUT`].
    pub(crate) async fn close(&self) {
        tokio::join!(self.reads.close(), self.writes.close());
        if !matches!(timeout(CLOSE_TIMEOUT, self.pool.disconnect()).await, Ok(Ok(()))) {
            tracing::warn!("connections to the database did not close cleanly");
        }
    }
}
