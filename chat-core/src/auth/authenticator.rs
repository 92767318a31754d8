//! [`Authenticator`]: the port that decides who may log in.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{ExternalLogin, PasswordPoolError, Throttled};
use crate::model::{Account, Login, Source, Timestamp, UserId};
use crate::store::StoreError;

/// Verdict of an authenticator. A denial is a verdict, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthVerdict {
    /// The login belongs to an existing account.
    Account(AccountLogin),
    /// The login belongs to a user of the application. The user's account is the one that is bound
    /// to the [`subject`](ExternalLogin::subject). If there is none, the engine creates it, or
    /// refuses the login if a deleted account reserves the subject.
    External(ExternalLogin),
    /// The login is denied. The verdict does not reveal whether the account exists.
    Denied,
}

/// Login of the user of an existing account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountLogin {
    /// The user of the account.
    pub user: UserId,
    /// Data of the store on which the verdict is based. Default: none.
    pub proof: Proof,
    /// Time at which the session ends and can no longer be resumed, such as the expiry of the token
    /// that was presented. The engine denies the login if this time has passed. Default: none; then
    /// only `EngineConfig::session_idle_timeout` limits how long the session can be resumed.
    pub expires_at: Option<Timestamp>,
}

impl AccountLogin {
    /// Returns a login that does not depend on the store, and that sets no time at which its
    /// session ends.
    #[must_use]
    pub const fn new(user: UserId) -> Self {
        Self {
            user,
            proof: Proof::External,
            expires_at: None,
        }
    }
}

impl From<AccountLogin> for AuthVerdict {
    fn from(login: AccountLogin) -> Self {
        Self::Account(login)
    }
}

impl From<ExternalLogin> for AuthVerdict {
    fn from(login: ExternalLogin) -> Self {
        Self::External(login)
    }
}

/// Verdict of an authenticator on the resume of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reauthentication {
    /// The session continues.
    Accepted,
    /// The session must not continue; the client has to log in again.
    Denied,
}

/// Data of the store on which a verdict is based. The engine commits a login only if the store
/// still holds that data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// The verdict does not depend on the store.
    #[default]
    External,
    /// The verdict depends on the stored password of the account: the engine commits the login only
    /// if the account still has the hash `compared`.
    Password {
        /// Stored password hash, as a PHC string, that the password of the login matched.
        compared: String,
        /// Hash of the same password that replaces `compared` in the store, because `compared` has
        /// a lower cost or was made before passwords were normalised; `None` if the store keeps
        /// `compared`.
        replacement: Option<String>,
    },
}

/// Reason why an authenticator gives no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The login exceeds a limit on attempts.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The password pool is busy or closed, or hashing failed.
    #[error(transparent)]
    Pool(#[from] PasswordPoolError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service behind the authenticator does not answer. The login or resume fails: an error
    /// never admits a client.
    #[error("the authenticator is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Decides who may log in.
///
/// The default is [`PasswordAuthenticator`](super::PasswordAuthenticator). An application with its
/// own accounts implements this trait to check its own tokens: the `secret` of a [`Login`] is then
/// the token that the client presents. [`TokenAuthenticator`](super::TokenAuthenticator) needs only
/// a function that checks the token.
///
/// # Contract
/// - A verdict does not distinguish an unknown account from a wrong secret, in content or in time.
/// - The authenticator limits attempts itself.
/// - It answers within `EngineConfig::request_timeout` (default 5 s), after which the engine stops
///   waiting.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Decides whether a login is allowed, and to which account it belongs.
    ///
    /// # Errors
    /// [`AuthError`]: there is no verdict. The engine rejects the login, which the client may
    /// repeat.
    async fn authenticate(&self, source: Source, login: &Login) -> Result<AuthVerdict, AuthError>;

    /// Decides whether a user may resume a session. The engine asks at each resume with a valid
    /// session token, because the application may have locked the user out since the login. By
    /// default, every such resume is accepted.
    ///
    /// # Errors
    /// [`AuthError`]: there is no verdict. The engine rejects the resume, which the client may
    /// repeat.
    async fn reauthenticate(&self, source: Source, account: &Account) -> Result<Reauthentication, AuthError> {
        let _ = (source, account);
        Ok(Reauthentication::Accepted)
    }

    /// Waits until the running requests have ended. The engine calls this when it shuts down, after
    /// its tasks have ended. By default, this does nothing.
    async fn close(&self) {}
}
