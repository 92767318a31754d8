//! Commands without a session: registration, provisioning of accounts, and the ways to start a
//! session (login, resume, and trusted logins from this process).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::no_entropy;
use crate::auth::{
    AuthVerdict, Authenticator, DeviceToken, Password, PasswordAuthenticator, Profile, Proof, Reauthentication,
    SessionToken, Subject, TokenAttempt, TokenThrottle,
};
use crate::engine::breaker::Scope;
use crate::engine::config::{EngineConfig, SessionPolicy};
use crate::engine::error::{CommandError, name_taken};
use crate::engine::hook_calls::HookCalls;
use crate::engine::limits::UserLimits;
use crate::engine::operations::account::{
    Admit, CommittedLogin, CreateAccount, LoginMethod, PhcString, Provision, Tokens, can_resume, first_epoch,
    private_info, session_expired,
};
use crate::engine::operations::fence::USER_LOCK;
use crate::engine::store_access::StoreAccess;
use crate::engine::workers::{ObserverQueue, PresenceView, SessionEnder};
use crate::model::{
    CloseCode, DeviceId, DirectPolicy, Login, LoginGrant, Registration, ReplyCode, Resume, Source, Timestamp, UserId,
    UserInfo, is_label,
};
use crate::router::SessionSelector;

/// Maximum length of a device's name in bytes.
const MAX_DEVICE_NAME_BYTES: usize = 64;

/// The part of the engine's configuration that logins use.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct LoginOptions {
    allow_registration: bool,
    session_policy: SessionPolicy,
    max_devices: u32,
    default_direct_policy: DirectPolicy,
    /// Maximum time for which a login or resume waits for the authenticator.
    authenticator_timeout: Duration,
    session_idle_timeout: Duration,
    session_rotation_interval: Duration,
}

impl From<&EngineConfig> for LoginOptions {
    fn from(config: &EngineConfig) -> Self {
        Self {
            allow_registration: config.allow_registration,
            session_policy: config.session_policy,
            max_devices: config.max_devices,
            default_direct_policy: config.default_direct_policy,
            authenticator_timeout: config.request_timeout,
            session_idle_timeout: config.session_idle_timeout,
            session_rotation_interval: config.session_rotation_interval,
        }
    }
}

#[derive(Debug)]
pub(in crate::engine) struct Logins {
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) authenticator: Arc<dyn Authenticator>,
    /// Passwords in the store; `None` if the application's authenticator replaces them.
    pub(in crate::engine) passwords: Option<Arc<PasswordAuthenticator>>,
    pub(in crate::engine) hooks: Arc<HookCalls>,
    pub(in crate::engine) observers: Arc<ObserverQueue>,
    pub(in crate::engine) session_ender: Arc<SessionEnder>,
    pub(in crate::engine) presence: Arc<PresenceView>,
    /// Limits on wrong session tokens.
    pub(in crate::engine) session_token_throttle: TokenThrottle,
    pub(in crate::engine) options: LoginOptions,
}

impl Logins {
    /// Closes the authenticator and the password checks, and waits until their running requests
    /// have completed.
    pub(in crate::engine) async fn close(&self) {
        self.authenticator.close().await;
        if let Some(passwords) = &self.passwords {
            passwords.close().await;
        }
    }

    pub(in crate::engine) async fn register(
        self: Arc<Self>,
        source: Source,
        registration: Registration,
    ) -> Result<UserInfo, CommandError> {
        let passwords = self.passwords.as_ref();
        let Some(passwords) = passwords.filter(|_| self.options.allow_registration) else {
            return Err(CommandError::new(
                ReplyCode::RegistrationClosed,
                "this server accepts no registrations; ask its operator for an account",
            ));
        };
        Password::normalized(&registration.password)?;
        passwords.charge_registration(source)?;
        let created = self.create_account(source, registration, passwords).await;
        // Once hooks were asked, the charge stays, as for other commands.
        let user = created.inspect_err(|_| {
            if !self.hooks.exist() {
                passwords.refund_registration(source);
            }
        })?;
        tracing::info!(user = user.id.0, "account registered");
        self.observers.registered(user.id);
        Ok(user)
    }

    /// Asks the hooks about a registration, which they may refuse or change, and creates the
    /// account.
    async fn create_account(
        &self,
        source: Source,
        registration: Registration,
        passwords: &PasswordAuthenticator,
    ) -> Result<UserInfo, CommandError> {
        let registration = self.hooks.before_register(source, registration).await?;
        // This read finds most taken names before the password is hashed, which takes much CPU
        // time.
        let existing = self.access.store().account_by_name(registration.name.as_str());
        if self.access.read(existing).await?.is_some() {
            return Err(name_taken());
        }
        let hash = passwords.hash(Password::normalized(&registration.password)?).await?;
        let create = CreateAccount {
            name: registration.name,
            display_name: registration.display_name,
            password_hash: Some(PhcString(hash)),
            direct_policy: self.options.default_direct_policy,
            now: self.access.wall_time(),
        };
        self.access.run(Scope::NoSharedRows, create).await
    }

    pub(in crate::engine) async fn login(
        self: Arc<Self>,
        source: Source,
        login: Login,
    ) -> Result<LoginGrant, CommandError> {
        check_device(login.device, &login.device_name)?;
        let (user, proof, expires) = self.authenticate(source, &login).await?;
        let session_token = SessionToken::generate().map_err(no_entropy)?;
        let device_token = DeviceToken::generate().map_err(no_entropy)?;
        let presented = login.device_token.as_ref().map(DeviceToken::from_secret);
        let tokens = Tokens {
            session: session_token.hash(),
            device: device_token.hash(),
            presented_device: presented.and_then(Result::ok).map(|token| token.hash()),
        };
        let method = LoginMethod::Login {
            name: login.device_name,
            proof,
            tokens,
            expires,
        };
        let logged_in = self.admit(user, login.device, method).await?;
        self.session_token_throttle
            .succeeded(Instant::now(), TokenAttempt::new(source, user, login.device));
        Ok(LoginGrant {
            caller: logged_in.caller,
            user: logged_in.user,
            session_token: Some(session_token.to_secret()),
            device_token: (!logged_in.kept_device_token).then(|| device_token.to_secret()),
        })
    }

    /// Asks the authenticator, and finds or creates the account of an external user. Returns the
    /// user, the proof that the verdict is based on, and the time at which the session has to end,
    /// if any.
    async fn authenticate(
        &self,
        source: Source,
        login: &Login,
    ) -> Result<(UserId, Proof, Option<Timestamp>), CommandError> {
        let verdict = self.authenticator.authenticate(source, login);
        let verdict = tokio::time::timeout(self.options.authenticator_timeout, verdict).await;
        let verdict = verdict.map_err(|_| CommandError::logins_unavailable())??;
        let expires = match &verdict {
            AuthVerdict::Account(login) => login.expires_at,
            AuthVerdict::External(login) => login.expires_at,
            AuthVerdict::Denied => None,
        };
        if expires.is_some_and(|expires| expires <= self.access.wall_time()) {
            return Err(CommandError::bad_credentials());
        }
        match verdict {
            AuthVerdict::Account(login) => Ok((login.user, login.proof, expires)),
            AuthVerdict::External(login) => {
                let user = self.find_or_create(login.subject, login.profile).await?;
                Ok((user.id, Proof::External, expires))
            }
            AuthVerdict::Denied => Err(CommandError::bad_credentials()),
        }
    }

    /// Finds the account of a user of an external identity provider, or creates it.
    pub(in crate::engine) async fn provision(
        self: Arc<Self>,
        subject: Subject,
        profile: Profile,
    ) -> Result<UserInfo, CommandError> {
        self.find_or_create(subject, profile).await
    }

    async fn find_or_create(&self, subject: Subject, profile: Profile) -> Result<UserInfo, CommandError> {
        // Only the creation of the account needs a transaction; later, this read finds the account.
        let known = self.access.store().account_by_subject(subject.as_str());
        if let Some(account) = self.access.read(known).await? {
            return Ok(private_info(&account));
        }
        let provision = Provision {
            subject,
            profile,
            direct_policy: self.options.default_direct_policy,
            now: self.access.wall_time(),
        };
        let (user, is_new) = self.access.run(Scope::NoSharedRows, provision).await?;
        if is_new {
            tracing::info!(user = user.id.0, "account provisioned");
            self.observers.registered(user.id);
        }
        Ok(user)
    }

    /// Asks the authenticator whether a user who resumes a session may still have one.
    async fn reauthenticate(&self, source: Source, user: UserId) -> Result<(), CommandError> {
        let account = self.access.read(self.access.store().account(user)).await?;
        let account = account.ok_or_else(session_expired)?;
        let verdict = self.authenticator.reauthenticate(source, &account);
        let verdict = tokio::time::timeout(self.options.authenticator_timeout, verdict).await;
        match verdict.map_err(|_| CommandError::logins_unavailable())?? {
            Reauthentication::Accepted => Ok(()),
            Reauthentication::Denied => Err(session_expired()),
        }
    }

    pub(in crate::engine) async fn resume(
        self: Arc<Self>,
        source: Source,
        resume: Resume,
    ) -> Result<LoginGrant, CommandError> {
        let attempt = TokenAttempt::new(source, resume.user, resume.device);
        self.session_token_throttle.check(Instant::now(), attempt)?;
        let presented = SessionToken::from_secret(&resume.session_token).map(|token| token.hash());
        // This read detects a wrong token, so that no transaction is needed for it.
        let device = self.access.store().device(resume.user, resume.device);
        let device = self.access.read(device).await?;
        let idle_timeout = self.options.session_idle_timeout;
        let now = self.access.wall_time();
        let presented = presented.ok().filter(|presented| {
            device
                .as_ref()
                .is_some_and(|device| can_resume(device, *presented, idle_timeout, now))
        });
        let Some(presented) = presented else {
            self.session_token_throttle.failed(Instant::now(), attempt);
            return Err(session_expired());
        };
        self.reauthenticate(source, resume.user).await?;
        let next = SessionToken::generate().map_err(no_entropy)?;
        let method = LoginMethod::Resume {
            presented,
            next: next.hash(),
            rotation_interval: self.options.session_rotation_interval,
            idle_timeout,
        };
        let logged_in = self.admit(resume.user, resume.device, method).await?;
        self.session_token_throttle.succeeded(Instant::now(), attempt);
        Ok(LoginGrant {
            caller: logged_in.caller,
            user: logged_in.user,
            session_token: logged_in.rotated_session_token.then(|| next.to_secret()),
            device_token: None,
        })
    }

    /// Logs in a device of this process, without credentials.
    pub(in crate::engine) async fn login_trusted(
        self: Arc<Self>,
        user: UserId,
        device: DeviceId,
    ) -> Result<CommittedLogin, CommandError> {
        check_device(device, "")?;
        let name = "this server".to_owned();
        let admitted = self.admit(user, device, LoginMethod::Trusted { name }).await;
        admitted.map_err(|error| match error.code {
            // Without credentials, this means that the account does not exist.
            ReplyCode::BadCredentials => CommandError::not_found(),
            _ => error,
        })
    }

    /// Commits a login or resume, and closes the sessions that it has ended.
    async fn admit(&self, user: UserId, device: DeviceId, method: LoginMethod) -> Result<CommittedLogin, CommandError> {
        // A login reads all memberships of the user. It is delayed before it changes anything,
        // while the user exceeds the rate of reads, so that a device that logs in again and again
        // does not slow down other users. The delay is bounded, and the login does not queue behind
        // the queries of the user: a thief who keeps the account busy cannot keep out the owner,
        // who would end the thief's session.
        tokio::time::sleep(self.limits.read_delay(user)).await;
        // A resumed device is known, so it evicts no other device, and it is one of the logged-in
        // devices that the policy `RejectNewDevices` has admitted. Only the policy `Reject` has to
        // know the live devices at a resume.
        let live_devices = match (self.options.session_policy, &method) {
            (SessionPolicy::Reject, _) | (_, LoginMethod::Login { .. } | LoginMethod::Trusted { .. }) => {
                self.presence.live_devices(user).await
            }
            (_, LoginMethod::Resume { .. }) => HashSet::new(),
        };
        let admit = Admit {
            user,
            device,
            method,
            policy: self.options.session_policy,
            max_devices: self.options.max_devices,
            first_epoch: first_epoch(),
            live_devices,
            now: self.access.wall_time(),
        };
        let logged_in = self.access.run(user, admit).await;
        // If the store's answer was lost, the login may have been committed, and then has ended
        // other sessions.
        let logged_in = logged_in.inspect_err(|error| {
            self.session_ender
                .recheck_after_failure(user, CloseCode::Replaced, error)
        })?;
        for evicted in logged_in.evicted.iter().copied() {
            let sessions = SessionSelector::Device(evicted);
            self.session_ender.close_here(user, sessions, CloseCode::Revoked);
        }
        let older = SessionSelector::OlderThan(device, logged_in.epoch);
        let ended = logged_in.ended.iter().copied().map(SessionSelector::Device);
        for sessions in std::iter::once(older).chain(ended) {
            self.session_ender.close(user, sessions, CloseCode::Replaced);
        }
        Ok(logged_in)
    }
}

/// Checks the id and the name of a device that logs in. The id 0 is reserved: its row serves as the
/// lock of the user.
fn check_device(device: DeviceId, name: &str) -> Result<(), CommandError> {
    if device == USER_LOCK {
        return Err(CommandError::invalid("the device id is zero; generate a random one"));
    }
    if name.len() > MAX_DEVICE_NAME_BYTES {
        return Err(CommandError::invalid("the device's name is longer than 64 bytes"));
    }
    if !is_label(name) {
        return Err(CommandError::invalid(
            "the device's name has a control or formatting character that is not allowed; remove it",
        ));
    }
    Ok(())
}
