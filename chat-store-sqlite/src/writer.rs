//! The thread that writes.
//!
//! ```text
//! take all that waits ─► BEGIN IMMEDIATE ─► each job in turn ─► COMMIT ─► answer all
//!                              ▲                  │ a job failed after it had written
//!                              └── ROLLBACK ◄─────┘ (once more, each job in a savepoint of its own)
//! ```
//! A job that fails before it wrote anything, as refusals do, costs the others nothing.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::{StoreError, TxError, Unit, run_ready};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::cursors;
use crate::error::{stopped, store_error};
use crate::queue::Queue;
use crate::tx::SqliteTx;

/// What the writer can be asked.
#[derive(Debug)]
pub(crate) enum Job {
    Unit(Box<dyn Unit>),
    Cursors(Vec<(UserId, DeviceId, ConversationId, Seq)>),
    Reads(Vec<(UserId, ConversationId, Seq)>),
}

type Answer = Result<(), StoreError>;
type Waiting = (Job, oneshot::Sender<Answer>);

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue<Waiting>>,
}

impl Writer {
    pub(crate) fn start(
        conn: Connection,
        capacity: usize,
        max_group: usize,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let queue = Arc::new(Queue::new(capacity));
        let thread = WriterThread {
            conn,
            queue: Arc::clone(&queue),
            max_group: max_group.max(1),
            erased: false,
        };
        let name = "chat-store-write".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || thread.serve())?;
        Ok((Self { queue }, thread))
    }

    /// Has `job` done and waits until it is durable. Once this was polled, dropping it stops nothing.
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
    max_group: usize,
    /// Text was erased that the write-ahead log may still hold.
    erased: bool,
}

/// Why a group was not committed.
enum GroupError {
    /// A job failed after it had written something.
    Dirty,
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
            let group = self.queue.pop_many(self.max_group);
            if group.is_empty() {
                break;
            }
            self.commit(group);
            if self.erased && self.queue.is_empty() {
                self.erased = !self.clear_log();
            }
        }
        self.clear_log();
    }

    /// Commits a group and answers it.
    fn commit(&mut self, group: Vec<Waiting>) {
        let (mut jobs, replies): (Vec<Job>, Vec<_>) = group.into_iter().unzip();
        let answers = match self.attempt(&mut jobs, false) {
            Err(GroupError::Dirty) => self.attempt(&mut jobs, true),
            settled => settled,
        };
        let mut answers = answers.map(Vec::into_iter);
        for reply in replies {
            let answer = match &mut answers {
                Ok(answers) => answers.next().unwrap_or_else(|| Err(stopped())),
                Err(error) => Err(error.answer()),
            };
            // The asker may have gone meanwhile.
            let _ = reply.send(answer);
        }
    }

    /// Runs all jobs in one transaction and commits it. After an error nothing of it is left.
    fn attempt(&mut self, jobs: &mut [Job], guarded: bool) -> Result<Vec<Answer>, GroupError> {
        let attempted = self.run_group(jobs, guarded);
        if attempted.is_err()
            && !self.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
        attempted
    }

    fn run_group(&mut self, jobs: &mut [Job], guarded: bool) -> Result<Vec<Answer>, GroupError> {
        self.execute("BEGIN IMMEDIATE")?;
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            let answer = if guarded {
                self.run_guarded(job)?
            } else {
                self.run_bare(job)?
            };
            answers.push(answer);
        }
        self.execute("COMMIT")?;
        Ok(answers)
    }

    fn run_bare(&mut self, job: &mut Job) -> Result<Answer, GroupError> {
        let before = self.conn.total_changes();
        let answer = self.run(job);
        if answer.is_err() && (self.conn.total_changes() != before || self.conn.is_autocommit()) {
            return Err(GroupError::Dirty);
        }
        Ok(answer)
    }

    fn run_guarded(&mut self, job: &mut Job) -> Result<Answer, GroupError> {
        self.execute("SAVEPOINT job")?;
        let answer = self.run(job);
        if answer.is_err() {
            // Fails, and with it the group, if SQLite has rolled back everything by itself.
            self.execute("ROLLBACK TO job")?;
        }
        self.execute("RELEASE job")?;
        Ok(answer)
    }

    fn run(&mut self, job: &mut Job) -> Answer {
        match job {
            Job::Unit(unit) => {
                let mut tx = SqliteTx::new(&mut self.conn);
                let result = match run_ready(&mut **unit, &mut tx) {
                    Ok(()) => tx.ledger.check(),
                    Err(TxError::Abort) => Err(StoreError::Refused),
                    Err(TxError::Store(error)) => Err(error),
                };
                self.erased |= tx.erased;
                result
            }
            Job::Cursors(moves) => cursors::advance_cursors(&self.conn, moves).map_err(store_error),
            Job::Reads(moves) => cursors::advance_reads(&self.conn, moves).map_err(store_error),
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Moves the write-ahead log into the database and cuts it off. `false` if a reader still needs it.
    fn clear_log(&self) -> bool {
        let cleared = self
            .without_waiting(|conn| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)));
        match cleared {
            Ok(busy) => busy == 0,
            Err(error) => {
                tracing::warn!(%error, "cannot clear the write-ahead log");
                false
            }
        }
    }

    /// Writes must not stand still because somebody reads.
    fn without_waiting<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.conn.busy_timeout(Duration::ZERO)?;
        let result = run(&self.conn);
        self.conn.busy_timeout(crate::open::BUSY_TIMEOUT)?;
        result
    }
}

impl GroupError {
    /// What each of the group hears.
    fn answer(&self) -> StoreError {
        match self {
            Self::Store(rusqlite::Error::SqliteFailure(code, text)) => {
                store_error(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            Self::Store(error) => StoreError::unavailable(error.to_string()),
            Self::Dirty => StoreError::unavailable("a unit of work could not be taken back"),
        }
    }
}
