//! Why a command failed, and how a unit of work refuses.

use std::time::Duration;

use crate::auth::{AuthError, PasswordError, PasswordPoolError, Throttled};
use crate::commands::UnexpectedOutcome;
use crate::model::{ReplyCode, TextError};
pub(super) use crate::service::CommandError;
use crate::store::StoreError;

impl CommandError {
    /// It does not exist, or not for the caller: the same words for both.
    pub(crate) fn not_found() -> Self {
        Self::new(ReplyCode::NotFound, "there is no such thing, or it is not for you")
    }

    /// The caller's role does not allow it.
    pub(crate) fn forbidden() -> Self {
        Self::new(ReplyCode::Forbidden, "you may not do that here")
    }

    /// A field is out of range.
    pub(crate) fn invalid(text: &'static str) -> Self {
        Self::new(ReplyCode::InvalidArgument, text)
    }

    /// A limit of this server.
    pub(crate) fn limit(text: &'static str) -> Self {
        Self::new(ReplyCode::LimitExceeded, text)
    }

    /// A newer login took over.
    pub(crate) fn fenced() -> Self {
        Self::new(
            ReplyCode::Fenced,
            "this session is over: the device logged in again, or was revoked",
        )
    }

    /// Nothing was done, for want of room.
    pub(crate) fn busy() -> Self {
        Self::new(ReplyCode::Busy, "the server is overloaded; nothing was done").retry_after(Duration::from_secs(1))
    }

    /// Nothing was done, because the node stops.
    pub(crate) fn shutting_down() -> Self {
        Self::new(ReplyCode::ShuttingDown, "this node is shutting down; nothing was done")
    }

    /// Unknown account or wrong secret: never which.
    pub(crate) fn bad_credentials() -> Self {
        Self::new(ReplyCode::BadCredentials, "unknown account or wrong password")
    }

    /// The store did not answer.
    pub(crate) fn try_again() -> Self {
        Self::new(
            ReplyCode::TryAgain,
            "the store is not available; it may or may not have happened: try again with the same client message id",
        )
        .retry_after(Duration::from_secs(1))
    }

    /// This node may not begin anything; another one may.
    pub(crate) fn clock_is_wrong() -> Self {
        Self::new(
            ReplyCode::TryAgain,
            "this server's clock is wrong; nothing was done: try another server, or later",
        )
        .retry_after(Duration::from_secs(10))
    }

    /// A defect; the log has it.
    pub(crate) fn internal() -> Self {
        Self::new(ReplyCode::Internal, "the server failed; its log says why")
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::try_again(),
            StoreError::Full(_) => Self::new(ReplyCode::TryAgain, "the server has no room left; nothing was done")
                .retry_after(Duration::from_secs(10)),
            StoreError::Overloaded | StoreError::AlreadySent => Self::busy(),
            StoreError::Aborted | StoreError::Corrupt(_) => Self::internal(),
        }
    }
}

impl From<UnexpectedOutcome> for CommandError {
    fn from(_: UnexpectedOutcome) -> Self {
        Self::internal()
    }
}

impl From<TextError> for CommandError {
    fn from(error: TextError) -> Self {
        Self::new(ReplyCode::InvalidText, error.to_string())
    }
}

impl From<Throttled> for CommandError {
    fn from(error: Throttled) -> Self {
        Self::new(ReplyCode::Throttled, error.to_string()).retry_after(error.retry_after)
    }
}

impl From<PasswordError> for CommandError {
    fn from(error: PasswordError) -> Self {
        Self::new(ReplyCode::InvalidPassword, error.to_string())
    }
}

impl From<PasswordPoolError> for CommandError {
    fn from(error: PasswordPoolError) -> Self {
        match error {
            PasswordPoolError::Busy => Self::busy(),
            PasswordPoolError::Closed => Self::shutting_down(),
            PasswordPoolError::Hash(_) => Self::internal(),
        }
    }
}

impl From<AuthError> for CommandError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Throttled(throttled) => throttled.into(),
            AuthError::Pool(pool) => pool.into(),
            AuthError::Store(store) => store.into(),
            AuthError::Unavailable(_) => Self::new(ReplyCode::TryAgain, "logins cannot be checked at the moment")
                .retry_after(Duration::from_secs(5)),
        }
    }
}

/// A name is not free.
pub(crate) fn name_taken() -> CommandError {
    CommandError::new(
        ReplyCode::NameTaken,
        "the name, or one that looks like it, is taken; choose another one",
    )
}

/// How a unit of work ends without a result.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The store failed.
    Store(StoreError),
    /// What was looked at before the locks were taken had changed: run it again.
    Moved,
    /// A decision.
    Command(CommandError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl Refusal {
    /// Returns the store's failure, or the refusal if it is a decision.
    pub(crate) fn into_store_error(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            other => Err(other),
        }
    }
}
