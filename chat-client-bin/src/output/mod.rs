//! Output as JSON or text. Results go to standard output, everything else to standard error.

mod event;
mod heading;
mod json;
mod lines;
mod single_line;
mod style;
mod time;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{ClientError, FirstContact};
use json::to_json;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::failure::{Failure, FailureKind, without_repeated_causes};

pub(crate) use event::{ConversationName, EventLine, ME_PREFIX, Names, describe_truncation, users_in};
pub(crate) use heading::Row;
pub(crate) use lines::{
    ContactLine, ConversationLine, DeviceLine, DoneLine, GroupLine, MemberLine, SentLine, UserLine, WhoLine,
};
pub(crate) use single_line::single_line;
pub(crate) use style::{Style, pad};
pub(crate) use time::{date, date_time, time_of_day};

/// A printable line: a JSON object, or text for the terminal.
pub(crate) trait Show: Serialize {
    /// Returns the text. Values from other users are escaped.
    fn text(&self, style: Style) -> String;
}

/// Number of bytes that a pipe takes without waiting if it can be written (`PIPE_BUF` on Linux).
const ATOMIC_WRITE_BYTES: usize = 4096;

/// Returns whether standard output can be written. A pipe then takes [`ATOMIC_WRITE_BYTES`] bytes
/// without waiting.
fn is_writable() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::OUT)];
    let polled = poll(&mut watched, Some(&Timespec::default()));
    polled.is_ok() && watched[0].revents().contains(PollFlags::OUT)
}

/// Printer of lines in the chosen form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    style: Style,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            style: Style::of_stdout(),
        }
    }

    /// Returns the style of text on standard output.
    pub(crate) const fn style(&self) -> Style {
        self.style
    }

    /// Prints and flushes one line.
    pub(crate) fn print(&mut self, line: &impl Show) -> Result<(), Failure> {
        let text = self.text_of(line);
        self.print_text(&text)
    }

    fn text_of(&self, line: &impl Show) -> String {
        if self.json {
            to_json(line)
        } else {
            line.text(self.style)
        }
    }

    fn print_text(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(write_failure)
    }

    /// Prints and flushes one line like [`print`](Self::print). While the reader of the output does
    /// not read, the caller can wait for something else.
    ///
    /// # Cancel safety
    /// If the future is dropped, a thread goes on printing the line, unless the process ends first.
    pub(crate) async fn print_in_background(&self, line: &impl Show) -> Result<(), Failure> {
        let (mut output, text) = (*self, self.text_of(line));
        if text.len() < ATOMIC_WRITE_BYTES && is_writable() {
            return output.print_text(&text);
        }
        let printed = tokio::task::spawn_blocking(move || output.print_text(&text)).await;
        printed.unwrap_or_else(|panicked| Err(Failure::new(FailureKind::Output, panicked.to_string())))
    }

    /// Waits until the reader of standard output has closed it, and returns a failure of the kind
    /// [`FailureKind::OutputClosed`]. Waits forever if the output is a file, whose reader cannot be
    /// noticed.
    pub(crate) async fn closed(&self) -> Failure {
        let (sender, closed) = oneshot::channel();
        // If the reader never closes its end, the thread waits until the process ends.
        std::thread::spawn(move || {
            let stdout = io::stdout();
            let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
            let is_closed = loop {
                match poll(&mut watched, None) {
                    Err(Errno::INTR) => {}
                    polled => break polled.is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP),
                }
            };
            if is_closed {
                let _ = sender.send(()); // the command may have ended
            }
        });
        if closed.await.is_err() {
            std::future::pending::<()>().await;
        }
        write_failure(io::ErrorKind::BrokenPipe.into())
    }

    /// Prints the lines of a list. On a terminal and without `--json`, the names of the columns
    /// come before the first line.
    pub(crate) fn print_list<L: Row>(&mut self, lines: impl IntoIterator<Item = L>) -> Result<(), Failure> {
        let mut needs_heading = !self.json && io::stdout().is_terminal();
        for line in lines {
            if std::mem::take(&mut needs_heading) {
                let mut out = io::stdout().lock();
                writeln!(out, "{}", self.style.dim(&L::heading())).map_err(write_failure)?;
            }
            self.print(&line)?;
        }
        Ok(())
    }

    /// Prints bytes unchanged: a manual page, or a completion script.
    pub(crate) fn print_raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(write_failure)
    }

    /// Handles a command line for which clap returned no arguments: prints the help or the version
    /// if the user asked for it, and otherwise the error. With `--json`, returns the error as a
    /// failure instead.
    pub(crate) fn invalid_command_line(&self, error: &clap::Error) -> Result<ExitCode, Failure> {
        if !error.use_stderr() {
            let written = error.print().and_then(|()| io::stdout().flush());
            return written.map(|()| ExitCode::SUCCESS).map_err(write_failure);
        }
        let failure = Failure::usage(clap_message(error));
        if self.json {
            return Err(failure);
        }
        let _ = error.print(); // there is no other place to report a failed write to
        Ok(ExitCode::from(failure.exit_code()))
    }

    /// Prints a notice about the client to standard error: `text`, or with `--json` also `kind`.
    pub(crate) fn notice(&self, kind: &str, text: &str) {
        if self.json {
            print_error(&to_json(&json!({"notice": {"kind": kind, "text": text}})));
        } else {
            print_error(&single_line(text));
        }
    }

    /// Prints a report about messages of the outbox to standard error: `text`, or with `--json`
    /// also the fields of `notice`.
    pub(crate) fn outbox(&self, text: &str, mut notice: Value) {
        if self.json {
            notice["kind"] = "outbox".into();
            notice["text"] = text.into();
            print_error(&to_json(&json!({ "notice": notice })));
        } else {
            print_error(&format!("chat-client: {}", single_line(text)));
        }
    }

    /// Warns that the outbox of a terminated process could not be read, so that its messages are
    /// not sent.
    pub(crate) fn outbox_skipped(&self, path: &Path, problem: &str) {
        let path = path.display();
        if self.json {
            let notice = json!({"kind": "outbox_skipped", "path": path.to_string(), "text": problem});
            print_error(&to_json(&json!({ "notice": notice })));
        } else {
            let text = format!("messages in {path} are not sent: {problem}");
            print_error(&format!("chat-client: {}", single_line(&text)));
        }
    }

    /// Prints a failure to standard error. A closed output pipe (`| head`) is not reported.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.kind == FailureKind::OutputClosed {
            return;
        }
        if self.json {
            let mut error = json!({"kind": failure.kind.name(), "text": failure.text});
            if let Some(code) = failure.code {
                error["code"] = code.into();
            }
            if let Some(line) = failure.last_line {
                error["last_line"] = line.into();
            }
            print_error(&to_json(&json!({ "error": error })));
        } else {
            print_error(&format!("chat-client: {}", single_line(&failure.text)));
        }
    }

    /// Returns a callback that prints the key of a server on the first connection to it.
    pub(crate) fn first_contact(&self) -> FirstContact {
        let json = self.json;
        Arc::new(move |host, key| {
            if json {
                print_error(&to_json(
                    &json!({"notice": {"kind": "first_contact", "host": host, "key": key.to_string()}}),
                ));
            } else {
                let host = single_line(host);
                print_error(&format!(
                    "chat-client: first connection to {host}; its key is {key}\nCompare it with the fingerprint that the server printed. From now on the client accepts only this key."
                ));
            }
        })
    }
}

/// Writes a line to standard error. Ignores a failed write, which cannot be reported anywhere;
/// `eprintln!` would panic.
fn print_error(line: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Describes the end of a connection, and when the client tries again.
pub(crate) fn describe_retry(reason: &ClientError, retry_in: Duration) -> String {
    let reason = without_repeated_causes(&reason.to_string());
    match retry_in.as_millis().div_ceil(1000) {
        0 => format!("{reason}; trying again"),
        seconds => format!("{reason}; trying again in {seconds} s"),
    }
}

/// Returns the failure of a write to standard output.
pub(crate) fn write_failure(error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe => FailureKind::OutputClosed,
        _ => FailureKind::Output,
    };
    Failure::new(kind, format!("cannot write the output: {error}"))
}

/// Returns the first paragraph of the error of clap on one line, without the usage.
fn clap_message(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "the command is missing; --help lists the commands".to_owned();
    }
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.split_whitespace().collect();
    let words = words.join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}
