//! Printing of lines: above the prompt of a terminal, or on standard output.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, TrySendError};
use std::sync::{Arc, Condvar, PoisonError};
use std::time::Duration;

use chat_core::sync::Mutex;
use rustyline::ExternalPrinter;

use crate::failure::Failure;
use crate::output::write_failure;

/// Maximum number of lines queued for the editor. Printing never waits for the editor: when the
/// queue is full, the next line goes to standard output directly.
const MAX_QUEUED_LINES: usize = 1024;
/// Escape sequence that leaves the cursor where it is, and ends with a line end, which the line
/// editor would add otherwise. The editor paints the prompt and the typed line again after it.
const REPAINT: &str = "\x1b[A\n";

/// Lock that the printing thread takes for each line that it prints above the prompt. While the
/// line editor holds the lock, the thread prints no line.
#[derive(Clone, Debug, Default)]
pub(super) struct PrintLock(Arc<PrintState>);

#[derive(Debug, Default)]
struct PrintState {
    is_locked: Mutex<bool>,
    unlocked: Condvar,
}

/// Guard of a locked [`PrintLock`]. While it exists, no other thread prints above the prompt.
#[derive(Debug)]
pub(super) struct PrintGuard(PrintLock);

impl PrintLock {
    /// Stops the printing of lines. Waits for at most `timeout` if a line is being printed, and
    /// returns `None` if it still is: the printing thread may wait for the line editor, which is
    /// the caller.
    pub(super) fn pause(&self, timeout: Duration) -> Option<PrintGuard> {
        let state = &self.0;
        let (mut is_locked, waited) = state
            .unlocked
            .wait_timeout_while(state.is_locked.lock(), timeout, |is_locked| *is_locked)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *is_locked = true;
        Some(PrintGuard(self.clone()))
    }

    fn lock(&self) -> PrintGuard {
        let state = &self.0;
        let mut is_locked = state
            .unlocked
            .wait_while(state.is_locked.lock(), |is_locked| *is_locked)
            .unwrap_or_else(PoisonError::into_inner);
        *is_locked = true;
        PrintGuard(self.clone())
    }
}

impl Drop for PrintGuard {
    fn drop(&mut self) {
        let PrintLock(state) = &self.0;
        *state.is_locked.lock() = false;
        state.unlocked.notify_one();
    }
}

/// Printer of whole lines, in their order. Only while the queue of the editor is full, a line may
/// come before or inside lines that are in the queue. Cheap to clone.
#[derive(Clone)]
pub(super) struct Screen {
    /// Queue of the thread that prints above the prompt, or `None` to print to standard output.
    queue: Option<mpsc::SyncSender<Item>>,
    /// First failure of a write to standard output. Stays `None` if there is a queue: if a terminal
    /// is closed, the input ends too.
    failure: Arc<Mutex<Option<Failure>>>,
}

enum Item {
    Line(String),
    /// Answered once all items before it were passed to the printer.
    Flush(mpsc::SyncSender<()>),
}

impl Screen {
    /// Creates a screen that prints to standard output.
    pub(super) fn stdout() -> Self {
        Self {
            queue: None,
            failure: Arc::default(),
        }
    }

    /// Creates a screen that prints above the prompt and the line being typed.
    pub(super) fn above_the_prompt(printer: impl ExternalPrinter + Send + 'static, printing: PrintLock) -> Self {
        let (queue, items) = mpsc::sync_channel(MAX_QUEUED_LINES);
        std::thread::spawn(move || print(printer, &items, &printing));
        Self {
            queue: Some(queue),
            failure: Arc::default(),
        }
    }

    /// Prints a line, or queues it for the thread that prints above the prompt.
    pub(super) fn line(&self, text: impl fmt::Display) {
        let text = format!("{text}\n");
        let Some(queue) = &self.queue else {
            if let Err(error) = to_stdout(&text) {
                self.failure.lock().get_or_insert_with(|| write_failure(error));
            }
            return;
        };
        let printed = queue.try_send(Item::Line(text));
        if let Err(TrySendError::Full(Item::Line(text)) | TrySendError::Disconnected(Item::Line(text))) = printed {
            let _ = to_stdout(&text.replace('\n', "\r\n")); // as for `failure`
        }
    }

    /// Fails if a line could not be written to standard output. What was not written must not count
    /// as seen.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Prints a line about an error. Without a line editor it goes to standard error.
    pub(super) fn error(&self, text: impl fmt::Display) {
        if self.queue.is_some() {
            self.line(text);
        } else {
            let _ = writeln!(io::stderr(), "{text}"); // there is no other place to report it to
        }
    }

    /// Lets the line editor paint the prompt and the typed line again.
    pub(super) fn repaint(&self) {
        if let Some(queue) = &self.queue {
            // If the queue is full, the lines in it repaint the prompt.
            let _ = queue.try_send(Item::Line(REPAINT.to_owned()));
        }
    }

    /// Waits until the printing thread has passed all queued lines to the printer, for at most
    /// `timeout`: the printer may wait for the editor. Does not wait if the queue is full.
    pub(super) fn flush(&self, timeout: Duration) {
        let (printed, waiting) = mpsc::sync_channel(1);
        if let Some(queue) = &self.queue
            && queue.try_send(Item::Flush(printed)).is_ok()
        {
            let _ = waiting.recv_timeout(timeout); // the output of the terminal may be stopped
        }
    }
}

/// Prints the queued lines. Runs on a separate thread, because the printer may block until the
/// editor reads the next line.
fn print(mut printer: impl ExternalPrinter, items: &mpsc::Receiver<Item>, printing: &PrintLock) {
    for item in items {
        match item {
            Item::Line(text) => {
                let _printing = printing.lock();
                if printer.print(text.clone()).is_err() {
                    let _ = to_stdout(&text); // the editor may have ended
                }
            }
            Item::Flush(printed) => drop(printed.try_send(())),
        }
    }
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("terminal", &self.queue.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A printer that accepts a line only when the test receives it.
    struct StalledPrinter(mpsc::SyncSender<String>);

    impl ExternalPrinter for StalledPrinter {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0
                .send(text)
                .map_err(|_| io::Error::other("the editor has ended").into())
        }
    }

    #[test]
    fn pause_waits_for_the_line_that_is_printed() {
        let lock = PrintLock::default();
        let printing = lock.lock();
        assert!(lock.pause(Duration::ZERO).is_none());
        // The printing thread lets the pausing one run for a while before it ends.
        let started = Arc::new(std::sync::Barrier::new(2));
        let printer = std::thread::spawn({
            let started = Arc::clone(&started);
            move || {
                started.wait();
                (0..1000).for_each(|_| std::thread::yield_now());
                drop(printing);
            }
        });
        started.wait();
        let pause = lock.pause(Duration::from_mins(1));
        printer.join().unwrap();
        assert!(pause.is_some() && lock.pause(Duration::ZERO).is_none());
        drop(pause);
        assert!(lock.pause(Duration::ZERO).is_some());
    }

    #[test]
    fn screen_does_not_block_on_a_stalled_editor() {
        let (printer, printed) = mpsc::sync_channel(0);
        let screen = Screen::above_the_prompt(StalledPrinter(printer), PrintLock::default());
        let lines: Vec<_> = (0..20).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| screen.line(line.trim_end()));
        assert_eq!(printed.iter().take(20).collect::<Vec<_>>(), lines);
        screen.flush(Duration::from_secs(1));
    }
}
