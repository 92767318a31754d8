//! [`SqliteStore`] and its threads.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use async_trait::async_trait;
use chat_core::model::{ClusterKey, StoreEpoch, Timestamp};
use chat_core::store::{Store, StoreError, Unit};
use chat_core::sync::Mutex;
use rusqlite::Connection;

use crate::backup::{self, BackupError};
use crate::error::OpenError;
use crate::job::Job;
use crate::lock::DirectoryLock;
use crate::open::{self, Opened, Options};
use crate::readers::Readers;
use crate::writer::Writer;

/// A [`Store`] in one SQLite file. The documentation of the [crate] describes how it works.
///
/// Dropping the store blocks until all requests that it has accepted are complete. [`Store::close`]
/// does the same without blocking a task.
#[derive(Debug)]
pub struct SqliteStore {
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    /// Path of the database file.
    path: PathBuf,
    epoch: StoreEpoch,
    cluster_key: ClusterKey,
    running: Mutex<Option<Running>>,
}

/// Threads and lock of an open store. The lock is released after the threads have ended.
#[derive(Debug)]
struct Running {
    threads: Vec<JoinHandle<()>>,
    lock: DirectoryLock,
}

impl SqliteStore {
    /// Opens the data directory. Unless [`Options::migrate`] is off, creates the directory and the
    /// database if they are missing, with access for their owner only (0700, 0600), and brings the
    /// schema up to date. Removes the access of other users to existing files of the store, with a
    /// warning in the log. Gives the store a new store epoch if the database is known to have
    /// replaced the one that was opened here last.
    ///
    /// # Errors
    /// See [`OpenError`]. After an error, no thread stays behind.
    pub async fn open(directory: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let directory = directory.as_ref().to_owned();
        let path = directory.join(open::DATABASE_FILE);
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&directory, &options)).await;
        opened.unwrap_or_else(|error| {
            Err(OpenError::Other {
                path,
                source: error.into(),
            })
        })
    }

    /// Gives the store in `directory` a new store epoch, so that clients discard what they have
    /// saved of its data. Call this after restoring a copy of the files that is older than the
    /// events that clients have seen. [`backup`](crate::backup) does this for its copies. Also
    /// replaces the [cluster key](Store::cluster_key), and brings the schema up to date.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::InUse`] while a store is open in the directory,
    /// [`OpenError::Missing`] or [`OpenError::Empty`] if there is no store; none is created.
    pub async fn renew_epoch(directory: impl AsRef<Path>) -> Result<StoreEpoch, OpenError> {
        let directory = directory.as_ref().to_owned();
        let path = directory.join(open::DATABASE_FILE);
        let renewed = tokio::task::spawn_blocking(move || {
            let opened = open::open_existing(&directory)?;
            open::renew_epoch(&opened.writer).map_err(|error| OpenError::sqlite(&opened.path, error))
        });
        renewed.await.unwrap_or_else(|error| {
            Err(OpenError::Other {
                path,
                source: error.into(),
            })
        })
    }

    fn open_blocking(directory: &Path, options: &Options) -> Result<Self, OpenError> {
        let Opened {
            path,
            lock,
            epoch,
            cluster_key,
            writer,
            readers,
        } = open::open(directory, options)?;
        let no_thread = |error: std::io::Error| OpenError::Other {
            path: path.clone(),
            source: error.into(),
        };
        let (readers, mut threads) = Readers::start(readers, options.max_waiting_reads).map_err(no_thread)?;
        let writer = Writer::start(writer, options.max_waiting_writes, options.max_writes_per_commit);
        let (writer, thread) = writer.map_err(|error| {
            readers.close();
            no_thread(error)
        })?;
        threads.push(thread);
        Ok(Self {
            writer,
            readers,
            path,
            epoch,
            cluster_key,
            running: Mutex::new(Some(Running { threads, lock })),
        })
    }

    /// Writes a copy of the current database to `target` while the store continues to work. See
    /// [`backup`](crate::backup).
    ///
    /// # Errors
    /// As for [`backup`](crate::backup).
    pub async fn backup_to(&self, target: impl AsRef<Path>) -> Result<(), BackupError> {
        backup::copy(self.path.clone(), target.as_ref().to_owned()).await
    }

    fn require_open(&self) -> Result<(), StoreError> {
        if self.readers.is_closed() {
            return Err(StoreError::unavailable("the store was closed"));
        }
        Ok(())
    }

    /// Stops accepting requests. The first call returns the threads, which the caller has to join,
    /// and the lock; later calls return `None`.
    fn stop(&self) -> Option<Running> {
        self.readers.close();
        self.writer.close();
        self.running.lock().take()
    }
}

impl Running {
    /// Waits until all threads have ended, then releases the lock. Blocks.
    fn finish(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        drop(self.lock);
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Some(running) = self.stop() {
            running.finish();
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn transact(&self, unit: Box<dyn Unit>) -> Result<(), StoreError> {
        self.writer.submit(Job::Unit(unit)).await
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.require_open()?;
        Ok(self.epoch)
    }

    async fn cluster_key(&self) -> Result<ClusterKey, StoreError> {
        self.require_open()?;
        Ok(self.cluster_key.clone())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let read_one = |conn: &Connection| conn.prepare_cached("SELECT 1 FROM meta")?.exists([]);
        self.readers.read(read_one).await.map(drop)
    }

    async fn newest_event_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let newest = |conn: &Connection| {
            // The `last_time` of a conversation without events is the time of its creation.
            let sql = "SELECT MAX(last_time) FROM conversation WHERE last_seq > 0";
            conn.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))
        };
        Ok(self.readers.read(newest).await?.map(Timestamp))
    }

    async fn close(&self) {
        let Some(running) = self.stop() else { return };
        if let Err(error) = tokio::task::spawn_blocking(move || running.finish()).await {
            tracing::error!(%error, "the store did not close cleanly");
        }
    }
}
