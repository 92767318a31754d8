//! What can go wrong for an application that talks to a server.

use std::sync::Arc;

use crate::codec::Failure;
use crate::model::{CloseCode, ReplyCode};
use crate::secure::Fingerprint;

use super::ClientStoreError;

/// Why something did not come about. Cheap to clone: one cause may end many requests.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No server could be reached, or none completed the handshake. Says what the last one did.
    #[error("no server can be reached: {0}")]
    Unreachable(String),
    /// The server's key is not the pinned one. Nothing was sent to it, and it will not be tried again.
    #[error(
        "the key of {host} is not the expected one: it showed {presented}; unless its operator announced a new key, somebody may be in between"
    )]
    WrongKey {
        /// The server, `name:port`.
        host: String,
        /// The key it showed.
        presented: Fingerprint,
    },
    /// The server may not be trusted without a pin, or its pin could not be kept.
    #[error("{0}")]
    Trust(String),
    /// The server refused it.
    #[error("{}", describe(.0))]
    Refused(Failure),
    /// Nobody is logged in on this device, and there is no password to do it with.
    #[error("not logged in, and no password was given")]
    NoCredentials,
    /// The server ended the session for good.
    #[error("the session is over: {}", describe_close(*.0))]
    Ended(CloseCode),
    /// The connection broke while the request was under way: it may or may not have been done.
    #[error("the connection broke; whether the server did it is unknown")]
    Interrupted,
    /// The server does not follow the protocol.
    #[error("the server does not follow the protocol: {0}")]
    Protocol(String),
    /// The outbox has as many messages as it may.
    #[error("the outbox is full: {0} messages wait for the server")]
    OutboxFull(usize),
    /// What the device keeps could not be read or written.
    #[error("{0}")]
    Store(Arc<ClientStoreError>),
    /// It took longer than the caller allowed.
    #[error("the server did not answer in time")]
    Timeout,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl ClientError {
    /// The code of a refusal, if it is one that this version knows.
    #[must_use]
    pub fn code(&self) -> Option<ReplyCode> {
        match self {
            Self::Refused(failure) => failure.code(),
            _ => None,
        }
    }
}

impl From<ClientStoreError> for ClientError {
    fn from(error: ClientStoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

fn describe(failure: &Failure) -> String {
    match (failure.text.is_empty(), failure.code()) {
        (false, _) => failure.text.clone(),
        (true, Some(code)) => format!("refused: {code:?}"),
        (true, None) => format!("refused with code {}", failure.number()),
    }
}

fn describe_close(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Replaced => "this device logged in elsewhere",
        CloseCode::Revoked => "this device was revoked, or the password was changed",
        CloseCode::LoggedOut => "logged out",
        CloseCode::AccountDisabled => "the account is disabled",
        CloseCode::GoingAway => "the server goes away for a while",
        CloseCode::ProtocolError => "the server says that this program broke the protocol",
        CloseCode::Timeout => "the server heard nothing for too long",
        CloseCode::SlowConsumer => "this program read too slowly",
        CloseCode::Overloaded => "the server is overloaded",
        CloseCode::Internal => "the server has a defect, which it has logged",
        CloseCode::PacketTooLarge => "this program sent more at once than the server takes",
        CloseCode::UnsupportedVersion => {
            "this program and the server have no version of the protocol in common; update the older one"
        }
        _ => "the server closed it",
    }
}

/// What to do about a refused login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Asking again will not change the answer.
    Final,
    /// Later it may go.
    Later,
}

/// Whether a refusal is one that time may change.
pub(super) fn judge(failure: &Failure) -> Verdict {
    match failure.code() {
        Some(
            ReplyCode::Throttled
            | ReplyCode::TryAgain
            | ReplyCode::Busy
            | ReplyCode::ShuttingDown
            | ReplyCode::Internal,
        ) => Verdict::Later,
        _ => Verdict::Final,
    }
}
