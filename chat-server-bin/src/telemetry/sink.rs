//! A thread that writes log lines, so that a full pipe blocks only the log and not the server.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of lines queued for the thread; further lines are dropped and counted.
const MAX_QUEUED_LINES: usize = 4096;
/// Maximum time that [`Sink::flush`] waits, in case the reader of standard error has stopped
/// reading.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Item of the queue to the log thread.
enum QueueItem {
    Line(Vec<u8>),
    /// Answered once all items before it are written.
    Flush(SyncSender<()>),
}

/// Sender of lines to the log thread. Clones share the thread, which ends when the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    sender: SyncSender<QueueItem>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MAX_QUEUED_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Self {
            sender,
            dropped: Arc::clone(&dropped),
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&receiver, &dropped))?;
        Ok(sink)
    }

    /// Waits until the lines that are queued now are written, for at most [`FLUSH_TIMEOUT`]. Does
    /// not wait if the queue is full.
    pub(super) fn flush(&self) {
        let (sender, done) = sync_channel(1);
        if self.sender.try_send(QueueItem::Flush(sender)).is_ok() {
            // After a timeout, the lines that are not written when the process exits are lost.
            let _timed_out = done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

fn write_lines(receiver: &Receiver<QueueItem>, dropped: &AtomicU64) {
    // The lock of stderr is held for one line at a time, because other code writes to stderr too,
    // mainly at exit.
    let mut stderr = io::stderr();
    for item in receiver {
        // An error on stderr cannot be reported anywhere.
        let _ignored = match item {
            QueueItem::Line(line) => {
                let missing = dropped.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    let _ignored = writeln!(
                        stderr,
                        "({missing} log lines were dropped: standard error was not read in time)"
                    );
                }
                stderr.write_all(&line)
            }
            QueueItem::Flush(done) => {
                let _gone = done.send(());
                stderr.flush()
            }
        };
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Each call of `write` receives one whole line from the formatter and queues it. If the queue is
/// full, the line is dropped and counted.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(QueueItem::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
