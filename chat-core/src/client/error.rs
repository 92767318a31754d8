//! Errors of a client.

use std::sync::Arc;

use crate::codec::Failure;
use crate::commands::UnexpectedOutcome;
use crate::model::{CloseCode, ReplyCode, TextError, UserId};
use crate::secure::Fingerprint;

use super::ClientStoreError;

/// Error of a client. Cheap to clone, because one cause may fail many requests.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client is not connected: no server could be reached, none completed the handshake, or
    /// the connection broke. Contains the last failure.
    #[error("not connected to a server: {0}")]
    Unreachable(String),
    /// The server presented a key other than the pinned ones. The client sent no request to the
    /// server, and will not connect to it again.
    #[error(
        "{host} presented the key {presented}, which is not pinned for it; unless its operator announced a new key, an attacker may intercept the connection"
    )]
    WrongKey {
        /// Server, as `host:port`.
        host: String,
        /// Key that the server presented.
        presented: Fingerprint,
    },
    /// The client must not trust the server: for example, its key is not pinned or cannot be
    /// pinned, or the connection would not be encrypted. Contains the problem.
    #[error("{0}")]
    Trust(String),
    /// The server refused the request, or the client did, because the server would.
    #[error("{}", describe(.0))]
    Refused(Failure),
    /// The device has no stored session token, and neither a password nor a token was given.
    #[error("not logged in, and no password or token was given")]
    NoCredentials,
    /// The server ended the session or the connection. In
    /// [`Disconnected`](super::ClientEvent::Disconnected) and in `Status::Connecting`, the client
    /// connects again; elsewhere the end is permanent.
    #[error("the session has ended: {}", describe_close(*.0))]
    Ended(CloseCode),
    /// It is unknown whether the command took effect, because the connection broke or the client
    /// ended before the reply; or whether the message is stored, for the reasons of
    /// [`SendOutcome::Unknown`](super::SendOutcome::Unknown); or whether the account was
    /// registered.
    #[error("no definite reply arrived; it is unknown whether the request took effect")]
    Interrupted,
    /// The request contains an id or a message number, and the server's operator has restored a
    /// backup since, or it is not known to which store epoch the id belongs. The id may denote
    /// something else now, so the request was not sent to the restored server. An attempt that was
    /// sent before the restoration may have taken effect, and its effect may be in the backup.
    #[error(
        "the server was, or may have been, restored from a backup, so the ids and message numbers in this request may denote something else now; the request was not sent to the restored server: look the ids up again and repeat the request"
    )]
    StoreReplaced,
    /// The client logged in as another user than the one that the saved state (outbox, cursors,
    /// groups) belongs to, for example because the account was deleted and its name registered
    /// again. The client has ended, and the state is unchanged.
    #[error(
        "the login is for user {user}, but the saved state of this device, such as unsent messages, belongs to user {saved}, who may have had the same name; use other saved state for user {user}"
    )]
    OtherUser {
        /// User that the saved state belongs to.
        saved: UserId,
        /// User that the client logged in as.
        user: UserId,
    },
    /// The server violated the protocol.
    #[error("the server does not follow the protocol: {0}")]
    Protocol(String),
    /// The outbox holds its maximum number of messages.
    #[error("the outbox is full: {0} messages wait for the server")]
    OutboxFull(usize),
    /// The client's saved state could not be read or written.
    #[error("{0}")]
    Store(Arc<ClientStoreError>),
    /// The server did not answer a request in time.
    #[error("the server did not answer in time")]
    Timeout,
    /// The client was closed, or ended before the call had its result.
    #[error("the client is closed")]
    Closed,
    /// The client's task panicked: in code of the application, such as its
    /// [`ClientStore`](super::ClientStore), or by a defect of the client. Contains the text of the
    /// panic. The outbox stays for the next run.
    #[error("the client has ended, because it panicked: {0}")]
    Panicked(String),
}

impl ClientError {
    /// Returns the reply code of a refusal, or `None` for another error or a code that this version
    /// does not know.
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

impl From<UnexpectedOutcome> for ClientError {
    fn from(error: UnexpectedOutcome) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<TextError> for ClientError {
    fn from(error: TextError) -> Self {
        Self::Refused(Failure::new(ReplyCode::InvalidText, error.to_string()))
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
        CloseCode::Replaced => "a newer login replaced it",
        CloseCode::Revoked => {
            "this device was revoked, the password was changed, an operator ended the sessions, or the login expired"
        }
        CloseCode::LoggedOut => "logged out",
        CloseCode::AccountDisabled => "the account was disabled or deleted",
        CloseCode::GoingAway => "the server asked this program to connect again",
        CloseCode::ProtocolError => "the server reports that this program violated the protocol",
        CloseCode::Timeout => "the server received nothing for too long, or no login in time",
        CloseCode::SlowConsumer => "this program read too slowly",
        CloseCode::Overloaded => {
            "too many sessions from this address or network, or this program sent too many packets before login"
        }
        CloseCode::Internal => "the server had an internal error, which it logged",
        CloseCode::PacketTooLarge => "this program sent a packet larger than the server accepts",
        CloseCode::UnsupportedVersion => {
            "this program and the server have no version of the protocol in common; update the older one"
        }
        _ => "the server gave no known reason",
    }
}

/// Kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// Another attempt would get the same refusal.
    Final,
    /// Another attempt may succeed later.
    Temporary,
}

/// Decides by its code whether a refusal is final.
pub(super) fn refusal_kind(failure: &Failure) -> RefusalKind {
    match failure.code() {
        Some(
            ReplyCode::Throttled
            | ReplyCode::TryAgain
            | ReplyCode::Busy
            | ReplyCode::ShuttingDown
            | ReplyCode::Internal,
        ) => RefusalKind::Temporary,
        _ => RefusalKind::Final,
    }
}
