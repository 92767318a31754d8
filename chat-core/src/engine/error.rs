//! Constructors of [`CommandError`], and [`Rejection`], the error of a unit of work.

use std::time::Duration;

use crate::auth::{AuthError, PasswordError, PasswordPoolError, Throttled};
use crate::commands::UnexpectedOutcome;
use crate::model::{CloseCode, ReplyCode, TextError};
pub(super) use crate::service::CommandError;
use crate::store::StoreError;

impl CommandError {
    /// Returns the error for an object that does not exist or is hidden from the caller. The text
    /// is the same in both cases, so that it does not reveal hidden objects.
    pub(crate) fn not_found() -> Self {
        Self::new(ReplyCode::NotFound, "not found, or not visible to you")
    }

    /// Returns the error for a caller who lacks the permission.
    pub(crate) fn forbidden() -> Self {
        Self::new(ReplyCode::Forbidden, "you do not have the permission for this")
    }

    /// Returns the error for an invalid argument.
    pub(crate) fn invalid(text: &'static str) -> Self {
        Self::new(ReplyCode::InvalidArgument, text)
    }

    /// Returns the error for a command that would exceed a limit of this server.
    pub(crate) fn limit(text: &'static str) -> Self {
        Self::new(ReplyCode::LimitExceeded, text)
    }

    /// Returns the error for a command about the caller's own device, if the caller has no device.
    pub(crate) fn needs_device() -> Self {
        Self::invalid("only a session of a device can do this; the caller acts without one")
    }

    /// Returns the error for a caller whose login has ended or expired, with the close code that
    /// gives the reason.
    pub(crate) fn fenced(reason: CloseCode) -> Self {
        let text = match reason {
            CloseCode::Replaced => "this session is over: the device logged in again, or another device replaced it",
            CloseCode::AccountDisabled => "this session is over: the account was disabled or deleted",
            _ => "this session is over: it was ended, its device was revoked, or its login expired",
        };
        Self {
            close_code: Some(reason),
            ..Self::new(ReplyCode::Fenced, text)
        }
    }

    /// Returns the error for a command about a session that this node does not have (any more).
    pub(crate) fn without_session() -> Self {
        Self::new(ReplyCode::Fenced, "this session is over: log in again")
    }

    /// Returns the error for an application or operator that acts for a user whose account does not
    /// exist, or is disabled or deleted.
    pub(crate) fn account_unusable() -> Self {
        Self::new(
            ReplyCode::AccountDisabled,
            "the user's account does not exist, or an operator disabled or deleted it",
        )
    }

    /// Returns the error for a login or provisioning whose subject a deleted account reserves.
    pub(crate) fn account_deleted() -> Self {
        let text = "the account of this user was deleted; an operator can allow a new one";
        Self::new(ReplyCode::AccountDisabled, text)
    }

    /// Returns the error for an overloaded node or store. Also for a command that other commands
    /// have held up: a query whose turn did not come in time, a unit of work that found outdated
    /// rows in each of its runs ([`Rejection::Outdated`]), or one whose idempotency key another
    /// transaction is using ([`StoreError::AlreadySent`]). Nothing was done.
    pub(crate) fn busy() -> Self {
        Self::new(ReplyCode::Busy, "the server is overloaded; nothing was done").retry_after(Duration::from_secs(1))
    }

    /// Returns the error for a node that is shutting down. Nothing was done.
    pub(crate) fn shutting_down() -> Self {
        Self::new(ReplyCode::ShuttingDown, "this node is shutting down; nothing was done")
    }

    /// Returns the error for an unknown account or a wrong secret. The text does not say which.
    pub(crate) fn bad_credentials() -> Self {
        Self::new(ReplyCode::BadCredentials, "unknown account or wrong password")
    }

    /// Returns the error for a command that may or may not have been executed, for example because
    /// the store did not answer.
    pub(crate) fn try_again() -> Self {
        Self::new(
            ReplyCode::TryAgain,
            "the server has not confirmed this, so it may or may not have been done; a message may be sent again with the \
             same client message id, look before you repeat anything else",
        )
        .retry_after(Duration::from_secs(1))
    }

    /// Returns the error for a command that needs the store, which does not answer. The command
    /// that gets it has written nothing.
    pub(crate) fn store_unavailable() -> Self {
        Self::new(
            ReplyCode::TryAgain,
            "the server's store does not answer at the moment; try again later",
        )
        .retry_after(Duration::from_secs(1))
    }

    /// Returns the error for a login that the authenticator cannot check, or not in time.
    pub(crate) fn logins_unavailable() -> Self {
        Self::new(
            ReplyCode::TryAgain,
            "logins cannot be checked at the moment; try again later",
        )
        .retry_after(Duration::from_secs(5))
    }

    /// Returns this error as that of a command that has written something already. Replaces `Busy`
    /// and `TryAgain`, whose texts may say or suggest that nothing was done.
    pub(crate) fn after_commit(self) -> Self {
        if matches!(self.code, ReplyCode::Busy | ReplyCode::TryAgain) {
            Self::try_again()
        } else {
            self
        }
    }

    /// Returns the error for a registration, login or resume at a node whose clock is wrong.
    /// Another node may accept it.
    pub(crate) fn clock_is_wrong() -> Self {
        Self::new(
            ReplyCode::TryAgain,
            "this server's clock is wrong; nothing was done: try another server, or later",
        )
        .retry_after(Duration::from_secs(10))
    }

    /// Logs a state that should be impossible, and returns the error for the caller.
    pub(crate) fn defect(problem: &str) -> Self {
        tracing::error!(problem, "a command has failed because of a defect of the server");
        Self::internal()
    }

    /// Returns the error for a defect or an unusable store, of which the text says that it is in
    /// the server's log. The code that calls this has to log it.
    pub(crate) fn internal() -> Self {
        Self::new(ReplyCode::Internal, "internal error; the server's log has the details")
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::try_again(),
            StoreError::Full(_) => Self::new(
                ReplyCode::Busy,
                "the server's store has no space left; nothing was done",
            )
            .retry_after(Duration::from_secs(10)),
            // `AlreadySent`: until the deadline, no retry has found the event with the same key, so
            // another transaction is using that key. A later attempt can succeed.
            StoreError::Overloaded | StoreError::AlreadySent => Self::busy(),
            StoreError::Aborted | StoreError::Corrupt(_) | StoreError::Defect(_) => Self::internal(),
        }
    }
}

impl From<UnexpectedOutcome> for CommandError {
    fn from(error: UnexpectedOutcome) -> Self {
        Self::defect(&error.to_string())
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
            PasswordPoolError::Hash(error) => Self::defect(&format!("a password cannot be hashed: {error}")),
        }
    }
}

impl From<AuthError> for CommandError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Throttled(throttled) => throttled.into(),
            AuthError::Pool(pool) => pool.into(),
            AuthError::Store(store) => {
                if !store.is_retryable() {
                    let error = &store as &dyn std::error::Error;
                    tracing::error!(error, "a login cannot be checked");
                }
                store.into()
            }
            AuthError::Unavailable(_) => Self::logins_unavailable(),
        }
    }
}

/// Returns the error for a name of an account or group that is taken.
pub(crate) fn name_taken() -> CommandError {
    CommandError::new(
        ReplyCode::NameTaken,
        "the name, or one that looks like it, is taken; choose another one",
    )
}

/// Error of a unit of work.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The store failed.
    Store(StoreError),
    /// Rows that were read before the locks were taken have changed: the unit of work has to be run
    /// again.
    Outdated,
    /// The unit of work refused the command.
    Command(CommandError),
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CommandError> for Rejection {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl Rejection {
    /// Returns the store's error, or `Err` with the rejection itself if the store did not fail.
    pub(crate) fn into_store_error(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            other => Err(other),
        }
    }
}
