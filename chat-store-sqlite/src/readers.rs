//! [`Readers`]: the threads that run reads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use chat_core::store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{stopped, store_error};
use crate::queue::Queue;

type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

/// Pool of reader connections, each on its own thread, so that a read does not block a thread of
/// the runtime.
#[derive(Debug)]
pub(crate) struct Readers {
    queue: Arc<Queue<ReadJob>>,
}

impl Readers {
    /// Starts one thread for each connection. At most `capacity` reads wait for a thread.
    pub(crate) fn start(connections: Vec<Connection>, capacity: usize) -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let queue = Arc::new(Queue::new(capacity));
        let readers = Self {
            queue: Arc::clone(&queue),
        };
        let mut threads = Vec::new();
        for conn in connections {
            let queue = Arc::clone(&queue);
            let name = "chat-store-read".to_owned();
            match thread::Builder::new().name(name).spawn(move || serve(&conn, &queue)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    readers.close();
                    return Err(error);
                }
            }
        }
        Ok((readers, threads))
    }

    /// Runs `query` on one snapshot of the committed state. If the future is dropped before a
    /// thread takes the query, the query does not run.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`]: too many reads wait. Otherwise the error of the query, or
    /// [`StoreError::Unavailable`] if the query panicked or the store was closed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Box::new(move |conn| {
            if !reply.is_closed() {
                // The caller may have stopped waiting.
                let _ = reply.send(on_snapshot(conn, query));
            }
        }))?;
        answer.await.map_err(|_| stopped())?.map_err(store_error)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

fn serve(conn: &Connection, queue: &Queue<ReadJob>) {
    while let Some(read) = queue.pop() {
        if catch_unwind(AssertUnwindSafe(|| read(conn))).is_err() {
            tracing::error!("a read of the store panicked");
        }
    }
}

fn on_snapshot<T>(conn: &Connection, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let snapshot = Snapshot::begin(conn)?;
    let found = query(conn);
    drop(snapshot);
    found
}

/// An open read transaction. Dropping it ends the transaction, also after a failed read.
struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    fn begin(conn: &'a Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(conn))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self
            .0
            .prepare_cached("COMMIT")
            .and_then(|mut statement| statement.execute([]));
        if let Err(error) = ended {
            tracing::warn!(%error, "cannot end a read transaction");
        }
    }
}
