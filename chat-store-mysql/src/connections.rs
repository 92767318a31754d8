//! Who may have a connection, and for how long.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use chat_core::store::StoreError;
use mysql_async::{Conn, Opts};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Options;
use crate::error::{closed, late};
use crate::pool::Pool;

/// Longest time to wait for requests that run when the store is closed; they have deadlines of their own.
const CLOSING: Duration = Duration::from_secs(10);

/// The driver's pool, with a door in front: its own queue has neither bound nor deadline. Reads and units of work have separate
/// doors, so that a locked conversation cannot take every connection.
#[derive(Debug)]
pub(crate) struct Connections {
    pool: Pool,
    pub(crate) reads: Door,
    pub(crate) writes: Door,
    deadline: Duration,
}

/// Lets in so many at a time; so many more may wait.
#[derive(Debug)]
pub(crate) struct Door {
    places: Semaphore,
    size: u32,
    waiting: AtomicU32,
    max_waiting: u32,
    is_closed: AtomicBool,
}

/// A connection to be used for one request. It goes back to the pool when dropped, or is closed if its use was cut short.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    conn: Conn,
    _place: SemaphorePermit<'a>,
}

impl Lease<'_> {
    /// Ends the connection instead of giving it back: the next one leads to whoever the address stands for then.
    pub(crate) async fn close(self) {
        if let Err(error) = self.conn.disconnect().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a connection did not close well"
            );
        }
    }
}

impl Deref for Lease<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl Door {
    fn new(size: u32, max_waiting: u32) -> Self {
        let size = size.max(1);
        Self {
            places: Semaphore::new(size as usize),
            size,
            waiting: AtomicU32::new(0),
            max_waiting,
            is_closed: AtomicBool::new(false),
        }
    }

    async fn enter(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(StoreError::Overloaded);
        }
        let _waits = Waits(&self.waiting);
        self.places.acquire().await.map_err(|_| closed())
    }

    /// Lets nobody in any more, and waits until everybody has left.
    async fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // Those who wait were let in before.
        if let Ok(all) = timeout(CLOSING, self.places.acquire_many(self.size)).await {
            drop(all);
        }
        self.places.close();
    }
}

/// One of those who wait, until dropped.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(driver: Opts, options: &Options) -> Self {
        Self {
            pool: Pool::new(driver),
            reads: Door::new(options.read_connections, options.max_waiting),
            writes: Door::new(options.write_connections, options.max_waiting),
            deadline: options.deadline,
        }
    }

    /// When a request that begins now has to have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// A connection, once there is one for us.
    pub(crate) async fn lease<'a>(&'a self, door: &'a Door) -> Result<Lease<'a>, StoreError> {
        let place = door.enter().await?;
        let conn = self.pool.connection().await?;
        Ok(Lease { conn, _place: place })
    }

    /// A connection for a read.
    pub(crate) async fn reader(&self) -> Result<Lease<'_>, StoreError> {
        self.lease(&self.reads).await
    }

    /// Everything that a request does, within its deadline. Never put a limit around less than that: see the [crate].
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let done = timeout_at(self.deadline(), work).await.unwrap_or_else(|_| Err(late()));
        if done.is_ok() {
            self.pool.heard();
        }
        done
    }

    /// The database has answered.
    pub(crate) fn heard(&self) {
        self.pool.heard();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.reads.is_closed.load(Ordering::SeqCst)
    }

    /// Finishes what was begun, and closes the connections.
    pub(crate) async fn close(&self) {
        tokio::join!(self.reads.close(), self.writes.close());
        if !matches!(timeout(CLOSING, self.pool.disconnect()).await, Ok(Ok(()))) {
            tracing::warn!("connections to the database did not close well");
        }
    }
}
