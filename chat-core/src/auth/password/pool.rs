//! [`PasswordHasherPool`]: Argon2 on few threads, behind a short queue.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{Password, PasswordCost, PasswordHash, PasswordHashError};

/// How much password hashing a node does at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordPoolOptions {
    /// What one hash costs.
    pub cost: PasswordCost,
    /// Hashes at a time; each takes a core and [`PasswordCost::memory_kib`]. Default: half the cores, at least 1.
    pub workers: usize,
    /// Requests that may wait for a worker; one more is refused at once. Default 64, a few hundred bytes each.
    pub queue: usize,
    /// Longest wait for a worker. Default 2 s.
    pub max_wait: Duration,
}

impl Default for PasswordPoolOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cost: PasswordCost::default(),
            workers: (cores / 2).max(1),
            queue: 64,
            max_wait: Duration::from_secs(2),
        }
    }
}

/// Whether a password was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It opens the record.
    Right {
        /// The record is weaker than the pool's cost: [`hash`](PasswordHasherPool::hash) the password again and store that.
        needs_rehash: bool,
    },
    /// It does not, or there is no such user.
    Wrong,
}

/// Why the pool gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordPoolError {
    /// The queue is full or the wait was too long; nothing was computed. Try again later.
    #[error("too many logins at once")]
    Busy,
    /// The pool has been closed: the server is shutting down.
    #[error("password hashing has stopped")]
    Closed,
    /// The record is unusable, or memory or random bytes were missing.
    #[error("cannot hash passwords")]
    Hash(#[from] PasswordHashError),
}

/// What a pool has done and is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordPoolStats {
    /// Hashes computed, for new passwords and for comparisons alike.
    pub computed: u64,
    /// Requests refused as [`PasswordPoolError::Busy`].
    pub refused: u64,
    /// Requests waiting or being computed.
    pub pending: usize,
}

/// Hashes and compares passwords on a bounded number of blocking threads.
///
/// An attempt on a user that does not exist takes the same way through the same code as one on a user that does, see
/// [`verify`](Self::verify). Dropping the pool leaves at most `workers` hashes to finish, some 20 ms;
/// [`shutdown`](Self::shutdown) waits for them.
#[derive(Debug)]
pub struct PasswordHasherPool {
    options: PasswordPoolOptions,
    /// Opened by nothing; stands in for users that do not exist.
    dummy: PasswordHash,
    /// A place in the queue or at a worker.
    places: Arc<Semaphore>,
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
    /// Sets a pool up; no thread runs until there is something to hash.
    ///
    /// # Errors
    /// [`PasswordHashError`]: the cost is out of range, or there are no random bytes.
    pub fn new(options: PasswordPoolOptions) -> Result<Self, PasswordHashError> {
        let workers = options.workers.clamp(1, 1024);
        let places = workers + options.queue.min(1 << 20);
        Ok(Self {
            dummy: PasswordHash::dummy(options.cost)?,
            options,
            places: Arc::new(Semaphore::new(places)),
            workers: Arc::new(Semaphore::new(workers)),
            tasks: TaskTracker::new(),
            counters: Arc::default(),
        })
    }

    /// What a new hash costs.
    #[must_use]
    pub fn cost(&self) -> &PasswordCost {
        &self.options.cost
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`PasswordPoolError`].
    /// # Cancel safety
    /// Dropping the future gives the place up; a hash that has begun is finished and thrown away.
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, PasswordPoolError> {
        let cost = self.options.cost;
        self.run(move || PasswordHash::compute(&password, cost)).await
    }

    /// Compares a password with a user's record. `None`, for a user that does not exist, costs the same as a record of the
    /// pool's cost and is always [`PasswordCheck::Wrong`].
    ///
    /// # Errors
    /// [`PasswordPoolError`].
    /// # Cancel safety
    /// As [`hash`](Self::hash).
    pub async fn verify(
        &self,
        password: Password,
        record: Option<PasswordHash>,
    ) -> Result<PasswordCheck, PasswordPoolError> {
        let user_exists = record.is_some();
        let record = record.unwrap_or_else(|| self.dummy.clone());
        let needs_rehash = record.needs_rehash(&self.options.cost);
        let opens = self.run(move || record.opens_with(&password)).await?;
        Ok(if opens && user_exists {
            PasswordCheck::Right { needs_rehash }
        } else {
            PasswordCheck::Wrong
        })
    }

    /// What the pool has done and is doing.
    #[must_use]
    pub fn stats(&self) -> PasswordPoolStats {
        PasswordPoolStats {
            computed: self.counters.computed.load(Ordering::Relaxed),
            refused: self.counters.refused.load(Ordering::Relaxed),
            pending: self.tasks.len(),
        }
    }

    /// Refuses everything from now on, waiting requests included.
    pub fn close(&self) {
        self.places.close();
        self.workers.close();
        self.tasks.close();
    }

    /// [Closes](Self::close) the pool and waits until no hash is being computed.
    pub async fn shutdown(&self) {
        self.close();
        self.tasks.wait().await;
    }

    /// The only way to Argon2: waits for a worker, then runs `work` on a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordHashError> + Send + 'static,
    ) -> Result<T, PasswordPoolError> {
        let pending = self.tasks.token();
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| self.refuse())?;
        let worker = timeout(self.options.max_wait, Arc::clone(&self.workers).acquire_owned())
            .await
            .map_err(|_| self.refuse())?
            .map_err(|_| PasswordPoolError::Closed)?;
        let counters = Arc::clone(&self.counters);
        // The permits go with the work, so that a caller who leaves does not let another hash begin beside it.
        let computed = tokio::task::spawn_blocking(move || {
            let (_pending, _place, _worker) = (pending, place, worker);
            counters.computed.fetch_add(1, Ordering::Relaxed);
            work()
        });
        match computed.await {
            Ok(result) => Ok(result?),
            // The runtime is going down, or Argon2 panicked, which concerns this request only.
            Err(error) if error.is_panic() => Err(PasswordHashError::Failed("panicked").into()),
            Err(_) => Err(PasswordPoolError::Closed),
        }
    }

    fn refuse(&self) -> PasswordPoolError {
        if self.places.is_closed() {
            return PasswordPoolError::Closed;
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        PasswordPoolError::Busy
    }
}
