//! Registering, logging in, resuming: how a guest becomes a caller.

use std::collections::HashSet;

use super::account::{Admit, Admitted, CreateAccount, PasswordRecord, Tokens, Way, first_epoch, session_expired};
use super::breaker::Scope;
use super::config::SessionPolicy;
use super::core::Core;
use super::error::{CommandError, name_taken};
use super::fence::USER_LOCK;
use crate::auth::{AuthVerdict, DeviceToken, Password, Proof, SessionToken, TokenError, TokenHash};
use crate::model::{Admission, CloseCode, DeviceId, Login, Registration, ReplyCode, Resume, Source, UserId, UserInfo};
use crate::router::SessionSelector;

/// Bytes of a device's name.
const DEVICE_NAME_BYTES: usize = 64;

impl Core {
    pub(super) async fn register(&self, source: Source, wish: Registration) -> Result<UserInfo, CommandError> {
        let closed = || CommandError::new(ReplyCode::RegistrationClosed, "this server takes no registrations");
        let passwords = self
            .authenticator
            .passwords()
            .filter(|_| self.config.allow_registration);
        let passwords = passwords.ok_or_else(closed)?;
        let wish = self.ask_before_register(source, wish).await?;
        let password = Password::new(wish.password)?;
        // Most names that are taken are found before a core is spent on the password.
        if self
            .read(self.store.account_by_name(wish.name.as_str()))
            .await?
            .is_some()
        {
            return Err(name_taken());
        }
        let hash = passwords.begin_registration(source, password).await?;
        let made = self
            .run(
                Scope::Alone,
                CreateAccount {
                    name: wish.name,
                    display_name: wish.display_name,
                    password_hash: Some(PasswordRecord(hash)),
                    or_find: false,
                    now: self.now(),
                },
            )
            .await;
        let (user, _) = made.inspect_err(|_| passwords.take_back_registration(source))?;
        tracing::info!(user = user.id.0, "registered");
        self.observer.registered(user.id);
        Ok(user)
    }

    pub(super) async fn login(&self, source: Source, login: Login) -> Result<Admission, CommandError> {
        check_device(login.device, &login.device_name)?;
        let verdict = self.authenticator.authenticate(source, &login);
        let verdict = tokio::time::timeout(self.config.request_timeout, verdict).await;
        let verdict = verdict.map_err(|_| CommandError::try_again())??;
        let (user, proof) = match verdict {
            AuthVerdict::Account(user, proof) => (user, proof),
            AuthVerdict::Provision { name, display_name } => {
                let provision = CreateAccount {
                    name,
                    display_name,
                    password_hash: None,
                    or_find: true,
                    now: self.now(),
                };
                let (user, is_new) = self.run(Scope::Alone, provision).await?;
                if is_new {
                    self.observer.registered(user.id);
                }
                (user.id, Proof::External)
            }
            AuthVerdict::Denied => return Err(CommandError::bad_credentials()),
        };
        let session = SessionToken::generate().map_err(no_entropy)?;
        let device = DeviceToken::generate().map_err(no_entropy)?;
        let presented = login.device_token.as_ref().map(DeviceToken::from_secret);
        let tokens = Tokens {
            session: session.hash(),
            device: device.hash(),
            presented_device: presented.and_then(Result::ok).map(|token| token.hash()),
        };
        let way = Way::Login {
            name: login.device_name,
            proof,
            tokens,
        };
        let admitted = self.admit(user, login.device, way).await?;
        Ok(Admission {
            caller: admitted.caller,
            user: admitted.user,
            session_token: Some(session.to_secret()),
            device_token: (!admitted.kept_device_token).then(|| device.to_secret()),
        })
    }

    pub(super) async fn resume(&self, resume: Resume) -> Result<Admission, CommandError> {
        let presented = SessionToken::from_secret(&resume.session_token).map_err(|_| session_expired())?;
        let presented = presented.hash();
        // A wrong token costs one read, not a transaction.
        let device = self.read(self.store.device(resume.user, resume.device)).await?;
        let stored = device
            .and_then(|device| device.session_token)
            .map(TokenHash::from_bytes);
        if stored != Some(presented) {
            return Err(session_expired());
        }
        let admitted = self.admit(resume.user, resume.device, Way::Resume(presented)).await?;
        Ok(Admission {
            caller: admitted.caller,
            user: admitted.user,
            session_token: None,
            device_token: None,
        })
    }

    /// Begins a session in this process, without asking who it is.
    pub(super) async fn trust(&self, user: UserId, device: DeviceId) -> Result<Admitted, CommandError> {
        check_device(device, "")?;
        let name = "this server".to_owned();
        self.admit(user, device, Way::Trusted { name }).await.map_err(|error| {
            if error.code == ReplyCode::BadCredentials {
                CommandError::not_found()
            } else {
                error
            }
        })
    }

    async fn admit(&self, user: UserId, device: DeviceId, way: Way) -> Result<Admitted, CommandError> {
        let live = if self.config.session_policy == SessionPolicy::Reject {
            self.live_devices(user).await
        } else {
            HashSet::new()
        };
        let admit = Admit {
            user,
            device,
            way,
            policy: self.config.session_policy,
            max_devices: self.config.max_devices,
            first_epoch: first_epoch(),
            live_elsewhere: live.iter().any(|other| *other != device),
            now: self.now(),
        };
        let admitted = self.run(user, admit).await;
        // If it was committed, it ended others.
        let admitted = admitted.inspect_err(|error| self.doubt(user, CloseCode::Replaced, error))?;
        let epoch = admitted.caller.epoch;
        self.router
            .close_sessions(user, SessionSelector::OlderThan(device, epoch), CloseCode::Replaced);
        for other in &admitted.ended {
            self.router
                .close_sessions(user, SessionSelector::Device(*other), CloseCode::Replaced);
        }
        Ok(admitted)
    }

    /// Devices of a user that have a session, here or elsewhere. Without the cluster's state, those here: a login must not
    /// depend on soft state.
    pub(super) async fn live_devices(&self, user: UserId) -> HashSet<DeviceId> {
        let claimed = self.presence.devices(&[user]).await.unwrap_or_default();
        let here = self.router.local_sessions(user);
        let claimed = claimed.into_iter().map(|(_, device, _, _)| device);
        claimed
            .chain(here.into_iter().map(|(caller, _)| caller.device))
            .collect()
    }
}

fn check_device(device: DeviceId, name: &str) -> Result<(), CommandError> {
    if device == USER_LOCK {
        return Err(CommandError::invalid("a device id is random, not zero"));
    }
    if name.len() > DEVICE_NAME_BYTES {
        return Err(CommandError::invalid("the device's name is too long"));
    }
    Ok(())
}

pub(super) fn no_entropy(error: TokenError) -> CommandError {
    tracing::error!(%error, "cannot make tokens");
    CommandError::internal()
}
