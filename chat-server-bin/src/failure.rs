//! Failures of the program: the message, and the exit code that scripts and service managers act
//! on.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use chat_core::secure::IdentityError;
use chat_store_sqlite::{BackupError, OpenError};

use crate::config::Problem;
use crate::signals::StopSignal;

/// Reason why the program ends before its work is done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A failure of none of the following kinds. Exit code 1.
    Failed(String),
    /// Standard output cannot be written, for another reason than a closed pipe. Exit code 1.
    Output(String),
    /// The command line or the environment lacks something that the command needs, or contains it
    /// in an invalid form. Exit code 2, as for other errors in the command line.
    Usage(String),
    /// Something that the program needs (the store, a file, an address, file descriptors) is
    /// unavailable; the same configuration may work later. Exit code 69.
    Unavailable(String),
    /// The reader of standard output has closed the pipe. No message is printed. Exit code 0.
    ReaderGone,
    /// A signal stopped the command before its end, with this consequence. Exit code 130 or 143.
    Stopped(StopSignal, &'static str),
    /// The configuration is invalid; starting again does not help. Exit code 78.
    Config(Vec<Problem>),
}

impl Failure {
    /// Returns the exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Unavailable(_) => 69,
            Self::ReaderGone => 0,
            Self::Stopped(signal, _) => signal.exit_code(),
            Self::Config(_) => 78,
        })
    }

    /// Creates a configuration failure with one problem.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::Config(vec![Problem::without_origin(text)])
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Output(text) | Self::Usage(text) | Self::Unavailable(text) => f.write_str(text),
            Self::Stopped(signal, consequence) => {
                write!(f, "stopped by {} before the end; {consequence}", signal.name())
            }
            Self::ReaderGone => f.write_str("the reader of standard output has closed the pipe"),
            Self::Config(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\nchat-server: " };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
        }
    }
}

/// Returns an error and its sources as one line, separated by colons. Leaves out the sources whose
/// texts the errors before them contain.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Unavailable(match &error {
            OpenError::Missing { path } => format!(
                "there is no store at {}; check --data-dir and the configuration, or create the store with `chat-server \
                 migrate` or by starting the server",
                path.display()
            ),
            OpenError::Empty { path } => format!(
                "{} is empty and holds no store; restore a backup in its place, or remove it and create the store with \
                 `chat-server migrate` or by starting the server",
                path.display()
            ),
            OpenError::OlderSchema { path, found, known } => format!(
                "the store {} has schema {found}, but this program needs schema {known}; run `chat-server migrate` first",
                path.display()
            ),
            _ => chain(&error),
        })
    }
}

impl From<chat_store_mysql::OpenError> for Failure {
    fn from(error: chat_store_mysql::OpenError) -> Self {
        use chat_store_mysql::OpenError as E;
        match error {
            E::Url(_) | E::UnsafeSettings(_) => Self::config(format!("store.url: {}", chain(&error))),
            E::Authorities { .. } => Self::config(format!("store.ca_file: {}", chain(&error))),
            E::OlderSchema { found: 0, .. } => Self::Unavailable(
                "the database of store.url holds no store; check the configuration, or create the store with \
                 `chat-server migrate` or by starting a node"
                    .to_owned(),
            ),
            E::OlderSchema { found, known } => Self::Unavailable(format!(
                "the database of store.url has schema {found}, but this program needs schema {known}; run `chat-server migrate`; \
                 nodes of earlier releases keep running after that, but cannot start again"
            )),
            E::MissingPrivileges { found, known, .. } => Self::Unavailable(format!(
                "the database of store.url has schema {found}, this program needs schema {known}, and the user of store.url may not \
                 create or change tables; run `chat-server migrate` with CHAT_STORE__URL set to the URL of a user who may"
            )),
            _ => Self::Unavailable(chain(&error)),
        }
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Open(error) => error.into(),
            other => Self::Failed(chain(&other)),
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        let text = chain(&error);
        match error {
            IdentityError::Permissions { .. }
            | IdentityError::Malformed(_)
            | IdentityError::KeySize(_)
            | IdentityError::KeyExponent => Self::config(text),
            IdentityError::File { .. } => Self::Unavailable(text),
            _ => Self::Failed(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn chain_repeats_no_cause() {
        let layer = |text, source: Option<Layer>| Layer {
            text,
            source: source.map(Box::new),
        };
        let cause = layer("refused", None);
        let io = layer("I/O error: refused", Some(cause));
        let driver = layer("I/O error: I/O error: refused", Some(io));
        let error = layer("cannot connect", Some(driver));
        assert_eq!(chain(&error), "cannot connect: I/O error: I/O error: refused");
        let apart = layer("cannot connect", Some(layer("refused", None)));
        assert_eq!(chain(&apart), "cannot connect: refused");
    }
}
