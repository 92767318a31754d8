//! Where lines appear: above the prompt of a terminal, or on stdout.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::mpsc::{self, TrySendError};
use std::time::Duration;

use rustyline::ExternalPrinter;

/// Lines that may wait for the editor. Whoever prints never does: when so many wait, the next one goes past them.
const WAITING: usize = 1024;
/// What still waits at the end may take so long.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Prints whole lines. Cheap to clone; a line is never cut by another.
#[derive(Clone)]
pub(super) struct Screen {
    above: Option<mpsc::SyncSender<Item>>,
}

enum Item {
    Line(String),
    /// Everything before this was printed.
    Flush(mpsc::SyncSender<()>),
}

impl Screen {
    /// For input that is no terminal.
    pub(super) fn stdout() -> Self {
        Self { above: None }
    }

    /// Above what is being typed, which stays.
    pub(super) fn above_the_prompt(printer: impl ExternalPrinter + Send + 'static) -> Self {
        let (above, items) = mpsc::sync_channel(WAITING);
        std::thread::spawn(move || print(printer, &items));
        Self { above: Some(above) }
    }

    /// Prints a line.
    pub(super) fn line(&self, text: impl fmt::Display) {
        let text = format!("{text}\n");
        let Some(above) = &self.above else {
            return to_stdout(&text);
        };
        let printed = above.try_send(Item::Line(text));
        if let Err(TrySendError::Full(Item::Line(text)) | TrySendError::Disconnected(Item::Line(text))) = printed {
            to_stdout(&text.replace('\n', "\r\n"));
        }
    }

    /// Waits until all lines are printed. The editor has to be gone, or in the middle of a line.
    pub(super) fn flush(&self) {
        let (printed, waiting) = mpsc::sync_channel(1);
        if let Some(above) = &self.above
            && above.try_send(Item::Flush(printed)).is_ok()
        {
            let _ = waiting.recv_timeout(LAST_LINES); // a terminal may stand still
        }
    }
}

/// The editor takes lines only while somebody may type, so this waits for it where nothing else does.
fn print(mut printer: impl ExternalPrinter, items: &mpsc::Receiver<Item>) {
    for item in items {
        match item {
            Item::Line(text) => {
                if printer.print(text.clone()).is_err() {
                    to_stdout(&text); // the editor is gone
                }
            }
            Item::Flush(printed) => drop(printed.try_send(())),
        }
    }
}

fn to_stdout(text: &str) {
    let mut out = io::stdout().lock();
    // Who closed the terminal sees nothing, and the input ends too.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("terminal", &self.above.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A printer that takes a line only when the test does.
    struct Slow(mpsc::SyncSender<String>);

    impl ExternalPrinter for Slow {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0
                .send(text)
                .map_err(|_| io::Error::other("the editor is gone").into())
        }
    }

    #[test]
    fn an_editor_that_takes_nothing_holds_up_nobody() {
        let (printer, printed) = mpsc::sync_channel(0);
        let screen = Screen::above_the_prompt(Slow(printer));
        let lines: Vec<_> = (0..20).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| screen.line(line.trim_end()));
        assert_eq!(printed.iter().take(20).collect::<Vec<_>>(), lines);
        screen.flush();
    }
}
