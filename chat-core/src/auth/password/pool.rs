//! [`PasswordHasherPool`]: Argon2 on a few threads, behind a bounded queue.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{Password, PasswordCost, PasswordHash, PasswordHashError};

/// Limits on the password hashing of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordPoolOptions {
    /// Cost of one hash.
    pub cost: PasswordCost,
    /// Maximum number of simultaneous hashes; each occupies a core and
    /// [`PasswordCost::memory_kib`]. Values outside 1 to 1024 count as the nearest of these.
    /// Default: half the cores, at least 1.
    pub workers: usize,
    /// Maximum number of requests that wait for a worker; the pool rejects further ones at once.
    /// Values above 1 048 576 count as that. Default 64, a few hundred bytes each.
    pub max_queued: usize,
    /// Maximum wait for a worker. Default 2 s.
    pub queue_timeout: Duration,
}

impl Default for PasswordPoolOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cost: PasswordCost::default(),
            workers: (cores / 2).max(1),
            max_queued: 64,
            queue_timeout: Duration::from_secs(2),
        }
    }
}

/// Result of the comparison of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password matches the stored hash.
    Right {
        /// True if a parameter of the stored hash's cost is below that of the pool's. Then the
        /// caller should [`hash`](PasswordHasherPool::hash) the password again and store the
        /// result.
        needs_rehash: bool,
    },
    /// The password does not match, or there is no stored hash: the user does not exist, or has no
    /// password.
    Wrong,
}

/// Reason why the pool did not hash or compare a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordPoolError {
    /// The queue is full or the wait was too long; nothing was computed. A later attempt may
    /// succeed.
    #[error("too many password checks are waiting; try again later")]
    Busy,
    /// The pool is closed, because the server is shutting down.
    #[error("the password pool is closed, because the server is shutting down")]
    Closed,
    /// The stored hash is unusable, the system lacks memory or random bytes, or hashing panicked.
    #[error("the password could not be hashed or compared")]
    Hash(#[from] PasswordHashError),
}

/// Counters of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordPoolStats {
    /// Number of hashes whose computation has started, for new passwords and for comparisons.
    pub computed: u64,
    /// Number of requests rejected as [`PasswordPoolError::Busy`].
    pub refused: u64,
    /// Number of requests that wait or are being computed.
    pub pending: usize,
}

/// Hashes and compares passwords on a bounded number of blocking threads.
///
/// Attempts on unknown users take the same code path as attempts on known users, see
/// [`verify`](Self::verify). Dropping the pool does not stop the hashes that are being computed;
/// [`shutdown`](Self::shutdown) waits for them.
#[derive(Debug)]
pub struct PasswordHasherPool {
    options: PasswordPoolOptions,
    /// Hash that no password matches. It is compared if there is no stored hash.
    dummy: PasswordHash,
    /// Permits for waiting or running requests.
    queue_permits: Arc<Semaphore>,
    /// Permits for running requests.
    workers: Arc<Semaphore>,
    tasks: TaskTracker,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    computed: AtomicU64,
    refused: AtomicU64,
}

impl PasswordHasherPool {
    /// Creates a pool. No thread runs until the first request.
    ///
    /// # Errors
    /// [`PasswordHashError`]: the cost is out of range, or the system provides no random bytes.
    pub fn new(options: PasswordPoolOptions) -> Result<Self, PasswordHashError> {
        let workers = options.workers.clamp(1, 1024);
        let queue_permits = workers + options.max_queued.min(1 << 20);
        Ok(Self {
            dummy: PasswordHash::dummy(options.cost)?,
            options,
            queue_permits: Arc::new(Semaphore::new(queue_permits)),
            workers: Arc::new(Semaphore::new(workers)),
            tasks: TaskTracker::new(),
            counters: Arc::default(),
        })
    }

    /// Returns the cost of a new hash.
    #[must_use]
    pub fn cost(&self) -> &PasswordCost {
        &self.options.cost
    }

    /// Returns the PHC string of a hash that no password matches.
    pub(crate) fn dummy_hash(&self) -> &str {
        self.dummy.as_str()
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`PasswordPoolError`]: nothing was hashed.
    /// # Cancel safety
    /// Dropping the future releases its place in the queue; a running hash is completed and
    /// discarded.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordPoolError> {
        let cost = self.options.cost;
        self.run(move || PasswordHash::compute(&password, cost)).await
    }

    /// Compares a password with the stored hash of a user. For an unknown user, or a user without a
    /// password, pass `None`: the comparison takes as long as one with a hash of the pool's cost,
    /// and its result is always [`PasswordCheck::Wrong`].
    ///
    /// # Errors
    /// [`PasswordPoolError`]: the passwords were not compared.
    /// # Cancel safety
    /// As [`hash`](Self::hash).
    pub async fn verify(
        &self,
        password: Password,
        stored: Option<PasswordHash>,
    ) -> Result<PasswordCheck, PasswordPoolError> {
        let has_stored_hash = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        let needs_rehash = stored.needs_rehash(&self.options.cost);
        let matches = self.run(move || stored.matches(&password)).await?;
        Ok(if matches && has_stored_hash {
            PasswordCheck::Right { needs_rehash }
        } else {
            PasswordCheck::Wrong
        })
    }

    /// Returns the counters of the pool.
    #[must_use]
    pub fn stats(&self) -> PasswordPoolStats {
        PasswordPoolStats {
            computed: self.counters.computed.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
            pending: self.tasks.len(),
        }
    }

    /// Rejects all further requests, including those that wait.
    pub fn close(&self) {
        self.queue_permits.close();
        self.workers.close();
        self.tasks.close();
    }

    /// [Closes](Self::close) the pool and waits until no hash is being computed.
    pub async fn shutdown(&self) {
        self.close();
        self.tasks.wait().await;
    }

    /// Waits for a worker, then runs `work` on a blocking thread. All uses of Argon2 outside of
    /// tests go through this method.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordHashError> + Send + 'static,
    ) -> Result<T, PasswordPoolError> {
        let pending = self.tasks.token();
        let queue_permit = Arc::clone(&self.queue_permits)
            .try_acquire_owned()
            .map_err(|_| self.refuse())?;
        let worker = timeout(self.options.queue_timeout, Arc::clone(&self.workers).acquire_owned())
            .await
            .map_err(|_| self.refuse())?
            .map_err(|_| PasswordPoolError::Closed)?;
        let counters = Arc::clone(&self.counters);
        // The permits move with the work, so that a caller that stops waiting does not free a
        // worker early.
        let computed = tokio::task::spawn_blocking(move || {
            let (_pending, _queue_permit, _worker) = (pending, queue_permit, worker);
            counters.computed.fetch_add(1, Ordering::Relaxed);
            work()
        });
        match computed.await {
            Ok(result) => Ok(result?),
            // A panic of Argon2 affects only this request.
            Err(error) if error.is_panic() => Err(PasswordHashError::Failed("panicked").into()),
            // The runtime is shutting down.
            Err(_) => Err(PasswordPoolError::Closed),
        }
    }

    /// Returns the error for a request that gets no permit. Counts it, unless the pool is closed.
    fn refuse(&self) -> PasswordPoolError {
        if self.queue_permits.is_closed() {
            return PasswordPoolError::Closed;
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        PasswordPoolError::Busy
    }
}
