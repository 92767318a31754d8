//! [`PasswordAuthenticator`]: accounts with passwords in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{
    AccountLogin, AuthError, AuthVerdict, Authenticator, ChargedAttempt, DeviceToken, LoginAttempt, LoginThrottle,
    Password, PasswordCheck, PasswordHash, PasswordHashError, PasswordHasherPool, PasswordPoolError,
    PasswordPoolOptions, Proof, ThrottleOptions, TokenAttempt, TokenHash, TokenThrottle,
};
use crate::model::{Account, DeviceId, Login, Secret, Source, UserId, UserRef};
use crate::store::{Store, StoreError};

/// Id under which a device is looked up if the account of a login does not exist, so that the login
/// costs the same reads. No account has this id.
const UNKNOWN_USER: UserId = UserId(0);

/// Minimum time from the start of a login to the answer if the login is refused as throttled after
/// the store was read. The reads are usually over by then, so that their duration does not show in
/// the time of the answer.
const REFUSAL_TIME: Duration = Duration::from_millis(100);

/// Authenticator that checks passwords against the store. It runs Argon2id on a small pool, behind
/// a throttle that recognises a user's own devices.
///
/// An unknown account, an account without a password and a wrong password take the same code path,
/// the same reads of the store and, if the stored hash has the configured cost, the same time. A
/// login without a device token is charged before the store is read, so that a throttled one reads
/// nothing. The exception is a name whose account the throttle does not know: only the lookup shows
/// which history counts the login. A login with a token may come from a known device, which has
/// limits of its own, so the store is read first. A login that is throttled after a read is
/// answered after a fixed time, or after the read if that takes longer.
///
/// A login with a wrong device token, or with any device token if the login is throttled, is also
/// charged as a wrong token: to its source, or to its device if that has logged in from there
/// before. After too many such charges, the token of a login is ignored, and the login is charged
/// like one without a token. The charge is refunded if the token was wrong and the password right.
#[derive(Debug)]
pub struct PasswordAuthenticator {
    store: Arc<dyn Store>,
    pool: PasswordHasherPool,
    throttle: LoginThrottle,
    /// Limits on wrong device tokens, and on throttled logins with a token.
    device_tokens: TokenThrottle,
}

impl PasswordAuthenticator {
    /// Creates an authenticator for the accounts of this store.
    ///
    /// # Errors
    /// [`PasswordHashError`]: the cost is out of range, or the system provides no random bytes.
    pub fn new(
        store: Arc<dyn Store>,
        pool: PasswordPoolOptions,
        throttle: ThrottleOptions,
    ) -> Result<Self, PasswordHashError> {
        Ok(Self {
            store,
            pool: PasswordHasherPool::new(pool)?,
            device_tokens: TokenThrottle::new(&throttle),
            throttle: LoginThrottle::new(throttle),
        })
    }

    /// Charges one registration to its source and to the node.
    ///
    /// # Errors
    /// [`AuthError::Throttled`]: the registration exceeds a limit; nothing was charged.
    pub(crate) fn charge_registration(&self, source: Source) -> Result<(), AuthError> {
        Ok(self.throttle.charge_registration(Instant::now(), source)?)
    }

    /// Refunds the charge of a registration that created no account. The registration still counts
    /// as a login attempt.
    pub(crate) fn refund_registration(&self, source: Source) {
        self.throttle.refund_registration(Instant::now(), source);
    }

    /// Hashes a new password. Returns the PHC string for the store.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, PasswordPoolError> {
        Ok(self.pool.hash(password).await?.as_str().to_owned())
    }

    /// Compares the password of a user who is logged in on `device`; the attempt counts as a login
    /// attempt. Returns the stored hash that the password matched, or `None` if the password is
    /// wrong or the account has none.
    pub(crate) async fn confirm(
        &self,
        account: &Account,
        device: DeviceId,
        password: Secret,
    ) -> Result<Option<String>, AuthError> {
        let known_device = self.store.device(account.id, device).await?;
        let known_device = known_device
            .and_then(|device| device.device_token)
            .map(TokenHash::from_bytes);
        let account_id = format!("#{}", account.id);
        let attempt = LoginAttempt {
            source: Source::Local,
            account: &account_id,
            known_device: known_device.as_ref(),
        };
        let charged = self.throttle.charge(Instant::now(), &attempt)?;
        let stored = account.password_hash.as_deref();
        let check = self.compare(charged, &account_id, password, stored).await?;
        Ok(match check {
            PasswordCheck::Right { .. } => stored.map(str::to_owned),
            PasswordCheck::Wrong => None,
        })
    }

    /// Compares a presented password with the hash `stored`, for an attempt that was charged.
    /// Records a right password in the throttle; refunds the attempt if nothing could be compared.
    /// `stored` is `None` for an account that does not exist or has no password; then, and if
    /// `stored` cannot be read, the password is compared with a hash that no password matches. The
    /// argument `account` names the account in the log.
    async fn compare(
        &self,
        charged: ChargedAttempt,
        account: &str,
        secret: Secret,
        stored: Option<&str>,
    ) -> Result<PasswordCheck, AuthError> {
        let candidates = candidates(&secret);
        let stored = match PasswordHash::parse(stored.unwrap_or(self.pool.dummy_hash())) {
            Ok(hash) => Some(hash),
            Err(error) => {
                tracing::error!(
                    account,
                    %error,
                    "the stored password hash of an account cannot be read; set a new password for it"
                );
                None
            }
        };
        match self.verify(candidates, stored).await {
            Ok(right @ PasswordCheck::Right { .. }) => {
                self.throttle.succeeded(Instant::now(), charged);
                Ok(right)
            }
            Ok(_) => Ok(PasswordCheck::Wrong),
            Err(Unverified { error, compared }) => {
                if compared == 0 {
                    self.throttle.refund(Instant::now(), charged);
                }
                Err(error.into())
            }
        }
    }

    /// Compares the forms of a presented password with a stored hash. The number of comparisons of
    /// a wrong password depends on that password only.
    async fn verify(
        &self,
        candidates: Vec<Candidate>,
        stored: Option<PasswordHash>,
    ) -> Result<PasswordCheck, Unverified> {
        for (compared, Candidate { password, form }) in candidates.into_iter().enumerate() {
            let checked = self.pool.verify(password, stored.clone()).await;
            match checked.map_err(|error| Unverified { error, compared })? {
                PasswordCheck::Right { needs_rehash } if form != Form::Dummy => {
                    let needs_rehash = needs_rehash || form == Form::AsPresented;
                    return Ok(PasswordCheck::Right { needs_rehash });
                }
                _ => {}
            }
        }
        Ok(PasswordCheck::Wrong)
    }

    async fn find(&self, account: &UserRef) -> Result<Option<Account>, StoreError> {
        match account {
            UserRef::Id(id) => self.store.account(*id).await,
            UserRef::Name(name) => self.store.account_by_name(name.as_str()).await,
        }
    }

    /// Charges a login whose device token is missing, malformed or ignored, then looks up its
    /// account.
    async fn charge_and_look_up(
        &self,
        source: Source,
        presented_account: &str,
        named: &UserRef,
    ) -> Result<LookedUp, AuthError> {
        let attempt = LoginAttempt {
            source,
            account: presented_account,
            known_device: None,
        };
        let answer_at = tokio::time::Instant::now() + REFUSAL_TIME;
        let charged = self.throttle.charge(Instant::now(), &attempt)?;
        let found = self.find(named).await;
        let account = found.inspect_err(|_| self.throttle.refund(Instant::now(), charged))?;
        let charged = self.identify(charged, presented_account, account.as_ref());
        if charged.is_err() {
            tokio::time::sleep_until(answer_at).await;
        }
        Ok(LookedUp {
            account,
            charged: charged?,
            had_wrong_token: false,
        })
    }

    /// Looks up the account and the device of a login with a device token, then charges the login.
    async fn look_up_and_charge(
        &self,
        source: Source,
        presented_account: &str,
        named: &UserRef,
        device: DeviceId,
        token: DeviceToken,
    ) -> Result<LookedUp, AuthError> {
        let token_attempt = TokenAttempt::of_login(source, named, device);
        let answer_at = tokio::time::Instant::now() + REFUSAL_TIME;
        let account = self.find(named).await?;
        let owner = account.as_ref().map_or(UNKNOWN_USER, |account| account.id);
        let device = self.store.device(owner, device).await?;
        let stored = device.and_then(|device| device.device_token).map(TokenHash::from_bytes);
        let known_device = stored.filter(|stored| *stored == token.hash());
        let charged = match (&known_device, &account) {
            // A known device has one history, whether it presents the name or the id.
            (Some(known_device), Some(account)) => self.charge_known(source, account, known_device),
            _ => {
                let attempt = LoginAttempt {
                    source,
                    account: presented_account,
                    known_device: None,
                };
                let charged = self.throttle.charge(Instant::now(), &attempt);
                let charged = charged.map_err(AuthError::from);
                charged.and_then(|charged| self.identify(charged, presented_account, account.as_ref()))
            }
        };
        let had_wrong_token = known_device.is_none();
        if had_wrong_token || charged.is_err() {
            // The reads are charged too, so that refused logins cannot cause an unlimited number of
            // reads.
            self.device_tokens.failed(Instant::now(), token_attempt);
        }
        if charged.is_err() {
            tokio::time::sleep_until(answer_at).await;
        }
        Ok(LookedUp {
            account,
            charged: charged?,
            had_wrong_token,
        })
    }

    /// Charges a login by a known device.
    fn charge_known(
        &self,
        source: Source,
        account: &Account,
        known_device: &TokenHash,
    ) -> Result<ChargedAttempt, AuthError> {
        let attempt = LoginAttempt {
            source,
            account: &format!("#{}", account.id),
            known_device: Some(known_device),
        };
        Ok(self.throttle.charge(Instant::now(), &attempt)?)
    }

    /// Moves a charged attempt to the history of the account that was found, if any.
    fn identify(
        &self,
        charged: ChargedAttempt,
        presented_account: &str,
        account: Option<&Account>,
    ) -> Result<ChargedAttempt, AuthError> {
        let Some(account) = account else {
            return Ok(charged);
        };
        let account_id = format!("#{}", account.id);
        Ok(self
            .throttle
            .identify(Instant::now(), charged, presented_account, &account_id)?)
    }
}

/// Failure of a comparison, with the number of forms of the password that were compared before it.
struct Unverified {
    error: PasswordPoolError,
    compared: usize,
}

/// A login whose account was looked up, and which was charged.
struct LookedUp {
    account: Option<Account>,
    charged: ChargedAttempt,
    /// True if the login had a device token that is not that of its device. Such a token was
    /// charged too.
    had_wrong_token: bool,
}

/// A form of a presented password that is compared with the stored hash.
struct Candidate {
    password: Password,
    form: Form,
}

/// How the bytes of a [`Candidate`] were made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Form from which new hashes are computed.
    Normalized,
    /// Form from which hashes were computed before passwords were normalised.
    AsPresented,
    /// Stands for a password of invalid length, which cannot be right. It is compared all the same,
    /// so that the answer takes as long as for another wrong password.
    Dummy,
}

/// Returns the forms of a presented password to compare: the normalised one, and the presented one
/// if it differs; or a dummy if neither can be a password.
fn candidates(presented: &Secret) -> Vec<Candidate> {
    let mut candidates = Vec::with_capacity(2);
    let normalized = Password::normalized(presented).ok();
    let differs = normalized
        .as_ref()
        .is_none_or(|password| password.expose() != presented.expose());
    candidates.extend(normalized.map(|password| Candidate {
        password,
        form: Form::Normalized,
    }));
    if differs && let Ok(password) = Password::new(presented.clone()) {
        candidates.push(Candidate {
            password,
            form: Form::AsPresented,
        });
    }
    if candidates.is_empty() {
        let dummy = Password::new(Secret::new(vec![0; Password::MIN_BYTES]));
        candidates.push(Candidate {
            password: dummy.expect("the dummy password has the minimum size"),
            form: Form::Dummy,
        });
    }
    candidates
}

#[async_trait]
impl Authenticator for PasswordAuthenticator {
    async fn authenticate(&self, source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let Some(named) = &login.account else {
            return Ok(AuthVerdict::Denied);
        };
        // Identifies the account in the throttle. No name contains `#`.
        let presented_account = match named {
            UserRef::Id(id) => format!("#{id}"),
            UserRef::Name(name) => name.as_str().to_owned(),
        };
        let token = login.device_token.as_ref().map(DeviceToken::from_secret);
        // No device is known by a token of invalid form. After too many wrong tokens from the
        // source or the device, none is looked up, and the login is charged like one without a
        // token.
        let token_attempt = TokenAttempt::of_login(source, named, login.device);
        let token = token.and_then(Result::ok);
        let token = token.filter(|_| self.device_tokens.check(Instant::now(), token_attempt).is_ok());
        let LookedUp {
            account,
            charged,
            had_wrong_token,
        } = match token {
            Some(token) => {
                self.look_up_and_charge(source, &presented_account, named, login.device, token)
                    .await?
            }
            None => self.charge_and_look_up(source, &presented_account, named).await?,
        };
        let stored = account.as_ref().and_then(|account| account.password_hash.clone());
        let secret = login.secret.clone();
        let check = self
            .compare(charged, &presented_account, secret, stored.as_deref())
            .await?;
        let (Some(account), Some(compared), PasswordCheck::Right { needs_rehash }) = (account, stored, check) else {
            return Ok(AuthVerdict::Denied);
        };
        if had_wrong_token {
            self.device_tokens.refund(Instant::now(), token_attempt);
        }
        self.device_tokens.succeeded(Instant::now(), token_attempt);
        let replacement = if needs_rehash {
            // A failure is ignored: the old hash stays, and the next login tries again.
            match Password::normalized(&login.secret) {
                Ok(password) => self.hash(password).await.ok(),
                Err(_) => None,
            }
        } else {
            None
        };
        Ok(AuthVerdict::Account(AccountLogin {
            proof: Proof::Password { compared, replacement },
            ..AccountLogin::new(account.id)
        }))
    }

    async fn close(&self) {
        self.pool.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::PasswordCost;
    use crate::store::MemoryStore;

    const COMPOSED: &str = "p\u{e4}ssw\u{f6}rd";
    const DECOMPOSED: &str = "pa\u{308}sswo\u{308}rd";

    fn authenticator() -> PasswordAuthenticator {
        let pool = PasswordPoolOptions {
            cost: PasswordCost::danger_cheap(),
            ..PasswordPoolOptions::default()
        };
        PasswordAuthenticator::new(Arc::new(MemoryStore::new()), pool, ThrottleOptions::danger_unlimited()).unwrap()
    }

    async fn check(
        authenticator: &PasswordAuthenticator,
        presented: impl Into<Vec<u8>>,
        stored: Option<&str>,
    ) -> PasswordCheck {
        let attempt = LoginAttempt {
            source: Source::Local,
            account: "alice",
            known_device: None,
        };
        let charged = authenticator.throttle.charge(Instant::now(), &attempt).unwrap();
        authenticator
            .compare(charged, attempt.account, Secret::new(presented), stored)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn old_hash_matches_the_bytes_that_it_was_computed_from_and_needs_a_rehash() {
        let authenticator = authenticator();
        for bytes in [DECOMPOSED.as_bytes(), b"p\xe4ssword", b"with\ttab"] {
            // Earlier versions hashed passwords without normalising them.
            let old = authenticator
                .hash(Password::new(Secret::new(bytes)).unwrap())
                .await
                .unwrap();
            let right = check(&authenticator, bytes, Some(&old)).await;
            assert_eq!(right, PasswordCheck::Right { needs_rehash: true });
            assert_eq!(
                check(&authenticator, "wrong password", Some(&old)).await,
                PasswordCheck::Wrong
            );
        }
    }

    #[tokio::test]
    async fn new_hash_matches_the_composed_and_the_decomposed_password() {
        let authenticator = authenticator();
        let new = Password::normalized(&Secret::new(DECOMPOSED)).unwrap();
        let new = authenticator.hash(new).await.unwrap();
        for spelling in [COMPOSED, DECOMPOSED] {
            let right = check(&authenticator, spelling, Some(&new)).await;
            assert_eq!(right, PasswordCheck::Right { needs_rehash: false });
        }
    }

    #[tokio::test]
    async fn number_of_comparisons_does_not_depend_on_the_account() {
        let authenticator = authenticator();
        let stored = authenticator
            .hash(Password::new(Secret::new("another password")).unwrap())
            .await
            .unwrap();
        for presented in ["wrong password", DECOMPOSED, "short", "with\ttab"] {
            let mut counts = Vec::new();
            for stored in [Some(&*stored), None] {
                let before = authenticator.pool.stats().computed;
                assert_eq!(check(&authenticator, presented, stored).await, PasswordCheck::Wrong);
                counts.push(authenticator.pool.stats().computed - before);
            }
            assert_eq!(counts[0], counts[1], "{presented:?}");
        }
    }
}
