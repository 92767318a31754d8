//! A thread that writes log lines, so that a full pipe stops the log and never the server.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the thread; one more is dropped and counted.
const WAITING_LINES: usize = 4096;
/// How long [`Sink::flush`] waits for a reader that does not read.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Hands lines to the thread. Clones feed the same thread; it ends with the last of them.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    pub(super) fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING_LINES);
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

    /// Waits until everything before is written, but not for ever.
    pub(super) fn flush(&self) {
        let (sender, done) = sync_channel(1);
        if self.sender.try_send(Item::Flush(sender)).is_ok() {
            // A reader that takes nothing loses the rest.
            let _timed_out = done.recv_timeout(FLUSH_WAIT);
        }
    }
}

fn write_lines(receiver: &Receiver<Item>, dropped: &AtomicU64) {
    // Locked for a line at a time: others write there too, at the end above all.
    let mut stderr = io::stderr();
    for item in receiver {
        // There is nobody to tell of an error on stderr.
        let _ignored = match item {
            Item::Line(line) => {
                let missing = dropped.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    let _ignored = writeln!(stderr, "({missing} log lines were lost: nobody read them in time)");
                }
                stderr.write_all(&line)
            }
            Item::Flush(done) => {
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

/// Each call is one whole line: the formatter collects it first.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
