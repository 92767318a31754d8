//! Failures of commands, and their exit codes for scripts.
//!
//! | code | kind | meaning |
//! |---|---|---|
//! | 1 | `refused`, `failed` | the server refused the command, or the command failed |
//! | 2 | `usage` | the command line, or a name or text on it, is wrong; a password file or variable is unusable, or a new password is too short or too long |
//! | 69 | `unreachable` | no server can be reached; nothing was done |
//! | 74 | `storage`, `output` | the profile cannot be read or written, or the output cannot be written |
//! | 75 | `temporary`, `queued`, `unknown`, `timeout` | try again later; `queued`: the next run sends the message; `unknown`: the command may or may not have taken effect |
//! | 76 | `wrong_key`, `protocol` | unexpected key, unencrypted connection not allowed, unsupported version, or a violation of the protocol |
//! | 77 | `auth` | not logged in, wrong password, no password given, two typed passwords that differ, revoked, logged in elsewhere, account disabled, too many devices, profile of another user |
//! | 129, 130, 143 | `stopped` | ended by SIGHUP, SIGINT or SIGTERM in the interactive client, at a password prompt, or in a command that has prompted for a password |
//! | 141 | | the reader of the output has closed the pipe; no message is printed, as for a process killed by SIGPIPE |

use std::fmt;
use std::io;

use chat_core::client::{ClientError, ClientStoreError};
use chat_core::commands::UnexpectedOutcome;
use chat_core::model::{CloseCode, ReplyCode, TextError};

use crate::signals::StopSignal;

/// A failure with its message.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
    /// Reply code, if the server refused a request, or the client did in its place.
    pub(crate) code: Option<u32>,
    /// Number of the last input line that was taken (stored, kept in the outbox, or reported as
    /// refused), if the lines after it were not.
    pub(crate) last_line: Option<u64>,
}

/// Kind of a failure, by what a script can do about it. The table of the module explains the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    Refused,
    Failed,
    Usage,
    Unreachable,
    Storage,
    Temporary,
    Queued,
    OutcomeUnknown,
    Timeout,
    WrongKey,
    Protocol,
    Auth,
    /// The client was asked to end.
    Stopped(StopSignal),
    /// The output cannot be written, for instance because the disk is full.
    Output,
    /// The reader of the output has closed the pipe.
    OutputClosed,
}

impl FailureKind {
    /// Returns the name of the kind in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Storage => "storage",
            Self::Temporary => "temporary",
            Self::Queued => "queued",
            Self::OutcomeUnknown => "unknown",
            Self::Timeout => "timeout",
            Self::WrongKey => "wrong_key",
            Self::Protocol => "protocol",
            Self::Auth => "auth",
            Self::Stopped(_) => "stopped",
            Self::Output => "output",
            Self::OutputClosed => "output_closed",
        }
    }

    const fn exit_code(self) -> u8 {
        match self {
            Self::Refused | Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::Storage | Self::Output => 74,
            Self::Temporary | Self::Queued | Self::OutcomeUnknown | Self::Timeout => 75,
            Self::WrongKey | Self::Protocol => 76,
            Self::Auth => 77,
            Self::Stopped(signal) => signal.exit_code(),
            Self::OutputClosed => 141,
        }
    }
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            code: None,
            last_line: None,
        }
    }

    /// Creates the failure of a wrong command line.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(FailureKind::Usage, text.to_string())
    }

    /// Turns a timeout, and an answer with `TRY_AGAIN` or `INTERNAL`, into the failure of a command
    /// that may have taken effect. Leaves other failures as they are.
    pub(crate) fn with_unknown_outcome(mut self) -> Self {
        let unknown = [ReplyCode::TryAgain, ReplyCode::Internal].map(ReplyCode::number);
        let is_unknown_refusal = self.code.is_some_and(|code| unknown.contains(&code));
        if self.kind == FailureKind::Timeout || is_unknown_refusal {
            self.kind = FailureKind::OutcomeUnknown;
            self.text.push_str("; it is unknown whether the command took effect");
        }
        self
    }

    /// Adds the number of the last input line that was taken, as in
    /// [`last_line`](Self::last_line).
    pub(crate) fn with_last_line_taken(mut self, number: u64) -> Self {
        self.text
            .push_str(&format!("; line {number} is the last line that was taken"));
        self.last_line = Some(number);
        self
    }

    /// Adds the number of the input line to the message.
    pub(crate) fn at_line(mut self, number: u64) -> Self {
        self.text = format!("line {number}: {}", self.text);
        self
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// Returns `true` if the server has not found what a command refers to.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Some(ReplyCode::NotFound.number())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Removes causes that directly repeat the ones before them from the text of an error, which names
/// a chain of causes with `: ` between them. An error that contains another may print the text of
/// that error too, and then the chain contains a cause more than once.
pub(crate) fn without_repeated_causes(text: &str) -> String {
    let mut causes: Vec<&str> = text.split(": ").collect();
    let mut start = 0;
    while start < causes.len() {
        let longest = (causes.len() - start) / 2;
        let repeated = (1..=longest).find(|&count| {
            let (first, rest) = causes[start..].split_at(count);
            rest.starts_with(first)
        });
        match repeated {
            Some(count) => drop(causes.drain(start..start + count)),
            None => start += 1,
        }
    }
    causes.join(": ")
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = match &error {
            ClientError::OtherUser { saved, user } => format!(
                "this name belongs to another account (id {user}) than the one whose messages and session this profile \
                 keeps (id {saved}): that one was renamed or deleted; nothing was sent: give another --profile"
            ),
            error => without_repeated_causes(&error.to_string()),
        };
        let kind = match &error {
            ClientError::Unreachable(_) => FailureKind::Unreachable,
            ClientError::WrongKey { .. } | ClientError::Trust(_) => FailureKind::WrongKey,
            ClientError::Refused(failure) => kind_of_reply(failure.code()),
            ClientError::StoreReplaced => FailureKind::Refused,
            ClientError::NoCredentials | ClientError::OtherUser { .. } => FailureKind::Auth,
            ClientError::Ended(code) => kind_of_close(*code),
            ClientError::Interrupted => FailureKind::OutcomeUnknown,
            ClientError::Protocol(_) => FailureKind::Protocol,
            ClientError::OutboxFull(_) => FailureKind::Temporary,
            ClientError::Store(error) => kind_of_store_error(error),
            ClientError::Timeout => FailureKind::Timeout,
            _ => FailureKind::Failed,
        };
        let code = match &error {
            ClientError::Refused(failure) => Some(failure.number()),
            _ => None,
        };
        Self {
            kind,
            text,
            code,
            last_line: None,
        }
    }
}

fn kind_of_reply(code: Option<ReplyCode>) -> FailureKind {
    match code {
        Some(
            ReplyCode::BadCredentials
            | ReplyCode::SessionExpired
            | ReplyCode::AccountDisabled
            | ReplyCode::LoggedInElsewhere
            | ReplyCode::TooManyDevices
            | ReplyCode::Fenced
            | ReplyCode::NotLoggedIn,
        ) => FailureKind::Auth,
        Some(ReplyCode::Throttled | ReplyCode::TryAgain | ReplyCode::Busy | ReplyCode::ShuttingDown) => {
            FailureKind::Temporary
        }
        Some(ReplyCode::UnsupportedVersion) => FailureKind::Protocol,
        _ => FailureKind::Refused,
    }
}

/// Returns the kind of failure for a session that the server has ended with this code.
fn kind_of_close(code: CloseCode) -> FailureKind {
    match code {
        CloseCode::Replaced | CloseCode::Revoked | CloseCode::LoggedOut | CloseCode::AccountDisabled => {
            FailureKind::Auth
        }
        CloseCode::ProtocolError | CloseCode::PacketTooLarge | CloseCode::UnsupportedVersion => FailureKind::Protocol,
        _ => FailureKind::Temporary,
    }
}

fn kind_of_store_error(error: &ClientStoreError) -> FailureKind {
    match error {
        ClientStoreError::InUse(_) => FailureKind::Temporary,
        _ => FailureKind::Storage,
    }
}

impl From<UnexpectedOutcome> for Failure {
    fn from(error: UnexpectedOutcome) -> Self {
        ClientError::from(error).into()
    }
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::usage(error)
    }
}

impl From<ClientStoreError> for Failure {
    fn from(error: ClientStoreError) -> Self {
        Self::new(kind_of_store_error(&error), error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(FailureKind::Failed, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use chat_core::codec;
    use chat_core::model::UserId;

    use super::*;

    #[test]
    fn failures_have_documented_exit_codes() {
        let code = |error: ClientError| Failure::from(error).exit_code();
        let refused = |code| ClientError::Refused(codec::Failure::new(code, "no"));
        assert_eq!(code(ClientError::Unreachable("x".into())), 69);
        assert_eq!(code(refused(ReplyCode::NotFound)), 1);
        assert_eq!(code(refused(ReplyCode::BadCredentials)), 77);
        assert_eq!(code(refused(ReplyCode::Throttled)), 75);
        assert_eq!(code(refused(ReplyCode::UnsupportedVersion)), 76);
        assert_eq!(code(ClientError::NoCredentials), 77);
        let other = ClientError::OtherUser {
            saved: UserId(1),
            user: UserId(2),
        };
        assert!(Failure::from(other.clone()).text.contains("--profile"));
        assert_eq!(code(other), 77);
        assert_eq!(code(ClientError::Ended(CloseCode::Replaced)), 77);
        assert_eq!(code(ClientError::Ended(CloseCode::AccountDisabled)), 77);
        assert_eq!(code(ClientError::Ended(CloseCode::GoingAway)), 75);
        assert_eq!(code(ClientError::Ended(CloseCode::Overloaded)), 75);
        assert_eq!(code(ClientError::Ended(CloseCode::ProtocolError)), 76);
        assert_eq!(code(ClientError::Ended(CloseCode::UnsupportedVersion)), 76);
        assert_eq!(code(ClientError::Interrupted), 75);
        assert_eq!(code(ClientError::StoreReplaced), 1);
        assert_eq!(code(ClientStoreError::InUse("x".into()).into()), 75);
        assert_eq!(Failure::usage("x").exit_code(), 2);
    }

    #[test]
    fn repeated_cause_is_printed_once() {
        let cases = [
            ("no route: refused", "no route: refused"),
            ("no route: refused: refused: refused", "no route: refused"),
            ("tls: bad: too old: bad: too old", "tls: bad: too old"),
            ("a: b: a", "a: b: a"),
            ("", ""),
        ];
        for (text, once) in cases {
            assert_eq!(without_repeated_causes(text), once);
        }
        let failure = Failure::from(ClientError::Unreachable("x:1: refused: refused".into()));
        assert_eq!(failure.text, "not connected to a server: x:1: refused");
    }
}
