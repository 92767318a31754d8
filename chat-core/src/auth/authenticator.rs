//! [`Authenticator`]: who somebody is, by the application's own rules or by password.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{PasswordAuthenticator, PasswordPoolError, Throttled};
use crate::model::{DisplayName, Login, Source, UserId, UserName};
use crate::store::StoreError;

/// What an authenticator says. "No" is an answer, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthVerdict {
    /// It is this account, and whatever was compared is still what the store holds at commit, see [`Proof`].
    Account(UserId, Proof),
    /// It is somebody whom the application knows: the account of this name, made if it is their first login.
    Provision {
        /// The account's unique name.
        name: UserName,
        /// What people see; absent: the name. Only for a new account.
        display_name: Option<DisplayName>,
    },
    /// It is not. Whether the account exists is not told.
    Denied,
}

/// What a verdict rests on. A login is committed only if that has not changed in the meantime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// On nothing that the store holds.
    #[default]
    External,
    /// On the account's stored password.
    Password {
        /// The record that was compared.
        compared: String,
        /// A stronger record of the same password, to be stored in its place.
        stronger: Option<String>,
    },
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Too many attempts.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// Passwords cannot be compared now.
    #[error(transparent)]
    Pool(#[from] PasswordPoolError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whatever the application asks does not answer. The login fails: nobody is let in on an error.
    #[error("the authenticator is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Decides who may log in.
///
/// The default is [`PasswordAuthenticator`]. An application with accounts of its own takes its tokens here: the `secret` of
/// a [`Login`] is whatever its clients present.
///
/// # Contract
/// - An answer does not tell an unknown account from a wrong secret, in content or in time.
/// - It limits attempts itself. It should answer within 5 s; the engine gives up after `EngineConfig::request_timeout`.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Whose login this is.
    ///
    /// # Errors
    /// [`AuthError`]: no verdict; the login is refused and may be tried again.
    async fn authenticate(&self, source: Source, login: &Login) -> Result<AuthVerdict, AuthError>;

    /// The passwords behind this authenticator, if people may register and change passwords through the engine.
    fn passwords(&self) -> Option<&PasswordAuthenticator> {
        None
    }

    /// Finishes what was begun. Called once, when the engine has stopped.
    async fn close(&self) {}
}
