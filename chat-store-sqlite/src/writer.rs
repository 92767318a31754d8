//! Thread that does all writes. It commits a group of waiting jobs in one transaction.
//!
//! ```text
//! take the waiting jobs ─► BEGIN IMMEDIATE ─► each job in turn ─► COMMIT ─► answer all
//!                                ▲                  │ a job failed after it had written
//!                                └── ROLLBACK ◄─────┘ again, each job in its own savepoint
//! ```
//! If SQLite then rolls back the whole transaction, for example on a full disk, each job runs in a
//! transaction of its own. A job that fails before its first write, such as a rejected request,
//! does not make the other jobs of its group run again.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chat_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{stopped, store_error};
use crate::job::Job;
use crate::queue::Queue;

type Answer = Result<(), StoreError>;
/// A job, and the channel for the answer to its caller.
type Waiting = (Job, oneshot::Sender<Answer>);

/// Handle of the writer thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue<Waiting>>,
}

impl Writer {
    /// Starts the thread. At most `capacity` jobs wait for it, and it commits at most
    /// `max_jobs_per_commit` together. Of both numbers, 0 counts as 1.
    pub(crate) fn start(
        conn: Connection,
        capacity: usize,
        max_jobs_per_commit: usize,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let queue = Arc::new(Queue::new(capacity));
        let thread = WriterThread {
            conn,
            queue: Arc::clone(&queue),
            max_jobs_per_commit: max_jobs_per_commit.max(1),
            log_needs_clearing: false,
        };
        let name = "chat-store-write".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || thread.serve())?;
        Ok((Self { queue }, thread))
    }

    /// Submits `job` and waits for its answer, which is `Ok` once its writes are durable. Dropping
    /// the future after its first poll does not stop the job.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`]: too many jobs wait. [`StoreError::Unavailable`]: the store was
    /// closed, or the thread has panicked. Otherwise the error of the job or of its commit.
    pub(crate) async fn submit(&self, job: Job) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.queue.push((job, reply))?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

struct WriterThread {
    conn: Connection,
    queue: Arc<Queue<Waiting>>,
    max_jobs_per_commit: usize,
    /// True while the write-ahead log may contain text that this thread has erased.
    log_needs_clearing: bool,
}

/// Reason why a group of jobs was not committed.
enum GroupError {
    /// A job failed after it had written, and its writes cannot be separated from those of other
    /// jobs; or SQLite has rolled back the whole transaction.
    Inseparable,
    /// The database failed.
    Store(rusqlite::Error),
}

impl From<rusqlite::Error> for GroupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error)
    }
}

impl WriterThread {
    fn serve(mut self) {
        loop {
            let group = self.queue.pop_many(self.max_jobs_per_commit);
            if group.is_empty() {
                break;
            }
            self.commit(group);
            if self.log_needs_clearing && self.queue.is_empty() {
                self.log_needs_clearing = !self.clear_log();
            }
        }
        self.clear_log();
    }

    /// Runs the jobs of a group, commits them, and answers their callers.
    fn commit(&mut self, group: Vec<Waiting>) {
        let (mut jobs, replies): (Vec<Job>, Vec<_>) = group.into_iter().unzip();
        let answers = match &mut jobs[..] {
            [job] => vec![self.run_alone(job)],
            jobs => self.run_together(jobs),
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // The caller may have stopped waiting.
            let _ = reply.send(answer);
        }
    }

    fn run_alone(&mut self, job: &mut Job) -> Answer {
        self.execute("BEGIN IMMEDIATE").map_err(store_error)?;
        let answer = self.run(job).and_then(|()| self.execute("COMMIT").map_err(store_error));
        if answer.is_err() {
            self.roll_back();
        }
        answer
    }

    fn run_together(&mut self, jobs: &mut [Job]) -> Vec<Answer> {
        let answers = match self.attempt(jobs, Self::run_without_savepoint) {
            Err(GroupError::Inseparable) => self.attempt(jobs, Self::run_in_savepoint),
            result => result,
        };
        match answers {
            Ok(answers) => answers,
            Err(GroupError::Inseparable) => jobs.iter_mut().map(|job| self.run_alone(job)).collect(),
            Err(GroupError::Store(error)) => jobs.iter().map(|_| Err(group_failure(&error))).collect(),
        }
    }

    /// Runs all jobs in one transaction and commits it. After an error, none of their writes
    /// remain.
    fn attempt(
        &mut self,
        jobs: &mut [Job],
        run: fn(&mut Self, &mut Job) -> Result<Answer, GroupError>,
    ) -> Result<Vec<Answer>, GroupError> {
        self.execute("BEGIN IMMEDIATE")?;
        let answers = jobs.iter_mut().map(|job| run(self, job)).collect::<Result<Vec<_>, _>>();
        let committed = answers.and_then(|answers| {
            self.execute("COMMIT")?;
            Ok(answers)
        });
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    fn run_without_savepoint(&mut self, job: &mut Job) -> Result<Answer, GroupError> {
        let before = self.conn.total_changes();
        let answer = self.run(job);
        // After some errors, for example a full disk, SQLite has rolled back the whole transaction.
        if self.conn.is_autocommit() || (answer.is_err() && self.conn.total_changes() != before) {
            return Err(GroupError::Inseparable);
        }
        Ok(answer)
    }

    fn run_in_savepoint(&mut self, job: &mut Job) -> Result<Answer, GroupError> {
        self.execute("SAVEPOINT job")?;
        let answer = self.run(job);
        if self.conn.is_autocommit() {
            return Err(GroupError::Inseparable);
        }
        if answer.is_err() {
            self.execute("ROLLBACK TO job")?;
        }
        self.execute("RELEASE job")?;
        Ok(answer)
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back a transaction");
        }
    }

    fn run(&mut self, job: &mut Job) -> Answer {
        job.run(&mut self.conn, &mut self.log_needs_clearing)
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Moves the write-ahead log into the database and truncates it. Returns `false` if a reader
    /// still needs the log, or if SQLite fails, which is logged.
    fn clear_log(&self) -> bool {
        let cleared = self
            .without_waiting(|conn| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
        match cleared {
            Ok(busy) => busy == 0,
            Err(error) => {
                tracing::warn!(%error, "cannot clear the write-ahead log, which may contain erased text");
                false
            }
        }
    }

    /// Runs `run` without waiting for readers, so that they cannot delay writes.
    fn without_waiting<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.conn.busy_timeout(Duration::ZERO)?;
        let result = run(&self.conn);
        self.conn.busy_timeout(crate::open::BUSY_TIMEOUT)?;
        result
    }
}

/// Returns the answer to one job of a group that failed with `error`, which cannot be cloned.
fn group_failure(error: &rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => store_error(rusqlite::Error::SqliteFailure(*code, text.clone())),
        error => StoreError::unavailable(error.to_string()),
    }
}
