//! [`TokenAuthenticator`]: logins with tokens that a function of the application checks.

use std::fmt;

use async_trait::async_trait;

use super::authenticator::{AuthError, AuthVerdict, Authenticator};
use crate::model::{Login, Source};

/// Function that checks a token.
type Check = dyn Fn(&[u8]) -> AuthVerdict + Send + Sync;

/// Authenticator for tokens that a function can check at once, such as signed tokens (JWTs). The
/// token alone decides: an account that the client names is ignored. An application that has to
/// wait for the answer, for example of a database, implements [`Authenticator`] itself.
pub struct TokenAuthenticator {
    check: Box<Check>,
}

impl TokenAuthenticator {
    /// Creates an authenticator from a function that returns the login that a token stands for, as
    /// an [`AccountLogin`](super::AccountLogin) or an [`ExternalLogin`](super::ExternalLogin), or
    /// `None` if the token is not valid.
    #[must_use]
    pub fn new<L>(check: impl Fn(&[u8]) -> Option<L> + Send + Sync + 'static) -> Self
    where
        L: Into<AuthVerdict>,
    {
        Self {
            check: Box::new(move |token| check(token).map_or(AuthVerdict::Denied, Into::into)),
        }
    }
}

#[async_trait]
impl Authenticator for TokenAuthenticator {
    async fn authenticate(&self, _source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        Ok((self.check)(login.secret.expose()))
    }
}

impl fmt::Debug for TokenAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthenticator").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{AccountLogin, ExternalLogin, Subject};
    use crate::model::{DeviceId, Secret, UserId};

    async fn verdict(authenticator: &TokenAuthenticator, token: &str) -> AuthVerdict {
        let login = Login::with_token(Secret::new(token), DeviceId::random());
        authenticator.authenticate(Source::Local, &login).await.unwrap()
    }

    #[tokio::test]
    async fn token_authenticator_returns_the_login_of_the_token_or_denies() {
        let known = TokenAuthenticator::new(|token| (token == b"seven").then(|| AccountLogin::new(UserId(7))));
        let AuthVerdict::Account(login) = verdict(&known, "seven").await else {
            panic!("the token is valid");
        };
        assert_eq!(login.user, UserId(7));
        assert!(matches!(verdict(&known, "eight").await, AuthVerdict::Denied));

        let subject = |token: &[u8]| Subject::new(std::str::from_utf8(token).ok()?).ok();
        let external = TokenAuthenticator::new(move |token| subject(token).map(ExternalLogin::new));
        let AuthVerdict::External(login) = verdict(&external, "auth0|7").await else {
            panic!("the token is valid");
        };
        assert_eq!(login.subject.as_str(), "auth0|7");
        assert!(matches!(verdict(&external, "").await, AuthVerdict::Denied));
    }
}
