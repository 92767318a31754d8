//! What is printed: JSON for programs, text for people. Results go to stdout, everything else to stderr.

mod event;
mod shapes;
mod style;
mod time;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use chat_core::client::FirstContact;
use chat_core::model::sanitize_for_terminal;
use serde::Serialize;
use serde_json::json;

use crate::failure::{Failure, Kind};

pub(crate) use event::{EventLine, Names, Place, users_in};
pub(crate) use shapes::{
    ContactLine, ConversationLine, DeviceLine, DoneLine, GroupLine, MemberLine, SentLine, UserLine, WhoLine,
};
pub(crate) use style::{Style, pad};
pub(crate) use time::{clock, day};

/// Something to print: an object for programs, words for people.
pub(crate) trait Show: Serialize {
    /// The words. Text of other people is harmless in them.
    fn text(&self, style: Style) -> String;
}

/// Where output goes, and in which form.
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

    /// How to colour text on stdout.
    pub(crate) const fn style(&self) -> Style {
        self.style
    }

    /// Prints one result; it has left the process when this returns.
    pub(crate) fn print(&mut self, line: &impl Show) -> Result<(), Failure> {
        let text = if self.json {
            to_json(line)
        } else {
            line.text(self.style)
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(unwritten)
    }

    /// Prints a page as it is: a manual, a script for a shell.
    pub(crate) fn page(&mut self, page: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(page).and_then(|()| out.flush()).map_err(unwritten)
    }

    /// Answers a command line that is no command: with help, if that was asked for, or with what is wrong about it.
    pub(crate) fn not_understood(&self, error: &clap::Error) -> Result<ExitCode, Failure> {
        if !error.use_stderr() {
            let written = error.print().and_then(|()| io::stdout().flush());
            return written.map(|()| ExitCode::SUCCESS).map_err(unwritten);
        }
        let failure = Failure::usage(complaint(error));
        if self.json {
            return Err(failure);
        }
        let _ = error.print(); // nobody is left to hear that this failed
        Ok(ExitCode::from(failure.exit_code()))
    }

    /// Tells people something on stderr, programs nothing.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            eprintln!("{}", sanitize_for_terminal(text));
        }
    }

    /// Warns of messages that an earlier run left and that cannot be sent: where they are, and why.
    pub(crate) fn left_alone(&self, place: &Path, problem: &str) {
        let place = place.display();
        if self.json {
            let notice = json!({"kind": "left_alone", "path": place.to_string(), "text": problem});
            eprintln!("{}", json!({ "notice": notice }));
        } else {
            let text = format!("what waits in {place} is not sent: {problem}");
            eprintln!("chat-client: {}", sanitize_for_terminal(&text));
        }
    }

    /// Says on stderr what went wrong, unless that is `| head` having seen enough.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.kind == Kind::OutputClosed {
            return;
        }
        if self.json {
            let mut error = json!({"kind": failure.kind.name(), "text": failure.text});
            if let Some(code) = failure.code {
                error["code"] = code.into();
            }
            eprintln!("{}", json!({ "error": error }));
        } else {
            eprintln!("chat-client: {}", sanitize_for_terminal(&failure.text));
        }
    }

    /// Prints the key of a server that is met for the first time.
    pub(crate) fn first_contact(&self) -> FirstContact {
        let json = self.json;
        Arc::new(move |host, key| {
            if json {
                eprintln!(
                    "{}",
                    json!({"notice": {"kind": "first_contact", "host": host, "key": key.to_string()}})
                );
            } else {
                let host = sanitize_for_terminal(host);
                eprintln!(
                    "chat-client: first contact with {host}; its key is {key}\nCompare it with what the server printed. It is pinned from now on."
                );
            }
        })
    }
}

fn unwritten(error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe => Kind::OutputClosed,
        _ => Kind::Output,
    };
    Failure::new(kind, format!("the output cannot be written: {error}"))
}

/// The first paragraph of what clap has to say, on one line: the rest is how the command is written.
fn complaint(error: &clap::Error) -> String {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; --help lists them".to_owned();
    }
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.split_whitespace().collect();
    let words = words.join(" ");
    words.strip_prefix("error: ").unwrap_or(&words).to_owned()
}

fn to_json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("the shapes have string keys and no failing parts")
}
