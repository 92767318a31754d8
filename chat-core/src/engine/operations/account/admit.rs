//! Unit of work of every login and resume.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::private_info;
use crate::auth::{Proof, TokenHash};
use crate::engine::config::SessionPolicy;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::lock_user;
use crate::model::{Account, Caller, Device, DeviceId, ReplyCode, SessionEpoch, Timestamp, UserId, UserInfo};
use crate::store::Transaction;

/// Logs a device in: checks that the user may log in, applies the session policy to the user's
/// other devices, and raises the session epoch of the device, so that commands of its older session
/// are refused.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Admit {
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) device: DeviceId,
    pub(in crate::engine) method: LoginMethod,
    pub(in crate::engine) policy: SessionPolicy,
    pub(in crate::engine) max_devices: u32,
    /// The user's devices that are connected, as far as this node knows, read before the
    /// transaction. Empty for a resume, unless the policy is [`SessionPolicy::Reject`].
    pub(in crate::engine) live_devices: HashSet<DeviceId>,
    /// Epoch of the first session of a new device. If the device was revoked before, its row and
    /// epoch were deleted, so this epoch has to be higher than any that the device can have
    /// reached: see [`first_epoch`].
    pub(in crate::engine) first_epoch: SessionEpoch,
    pub(in crate::engine) now: Timestamp,
}

/// Returns an epoch higher than that of any device that logged in earlier, if the clocks of the
/// nodes agree and were not set back: the time in nanoseconds. A device's epoch grows by one when a
/// session of the device starts or is ended, so it cannot overtake the clock.
pub(in crate::engine) fn first_epoch() -> SessionEpoch {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    // Stores keep the epoch as a signed integer, and it must have room to grow.
    SessionEpoch(nanos.clamp(1, u64::MAX >> 2))
}

/// Way in which a device logs in, with the proof of identity that it presents.
#[derive(Clone, Debug)]
pub(in crate::engine) enum LoginMethod {
    /// A verdict of the authenticator.
    Login {
        /// Name of the device.
        name: String,
        proof: Proof,
        tokens: Tokens,
        /// Time at which the login expires, which ends the session; `None` if it does not expire.
        expires: Option<Timestamp>,
    },
    /// The token of an earlier login or resume.
    Resume {
        presented: TokenHash,
        /// Token that replaces the presented one, if that is due.
        next: TokenHash,
        /// Time after which a token is replaced.
        rotation_interval: Duration,
        /// Time since the last login or resume after which the token is no longer valid.
        idle_timeout: Duration,
    },
    /// No proof: a session in this process, which is trusted. `name` is the name of the device.
    Trusted { name: String },
}

/// Hashes of the tokens that a login generates for its device, and of the one that the device
/// presented.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Tokens {
    pub(in crate::engine) session: TokenHash,
    pub(in crate::engine) device: TokenHash,
    /// Device token that the device presented, if any. If it is the stored one, it stays valid, and
    /// the generated one is not used.
    pub(in crate::engine) presented_device: Option<TokenHash>,
}

/// A committed login.
#[derive(Clone, Debug)]
pub(in crate::engine) struct CommittedLogin {
    pub(in crate::engine) caller: Caller,
    /// Session epoch of the device since this login.
    pub(in crate::engine) epoch: SessionEpoch,
    pub(in crate::engine) user: UserInfo,
    /// True if the login gave the device no new device token: the device keeps the one that it has,
    /// if any.
    pub(in crate::engine) kept_device_token: bool,
    /// True if a resume has replaced the session token of the device.
    pub(in crate::engine) rotated_session_token: bool,
    /// Other devices whose sessions the login ended, if they had any.
    pub(in crate::engine) ended: Vec<DeviceId>,
    /// Other devices that the login revoked, because the user had too many.
    pub(in crate::engine) evicted: Vec<DeviceId>,
}

/// Other devices of the user that a login affects, as in [`CommittedLogin`].
struct EndedDevices {
    ended: Vec<DeviceId>,
    evicted: Vec<DeviceId>,
}

#[async_trait]
impl Operation for Admit {
    type Output = CommittedLogin;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<CommittedLogin, Rejection> {
        lock_user(tx, self.user).await?;
        let known = tx.lock_device(self.user, self.device).await?;
        let others = tx.lock_devices_of(self.user).await?;
        let others: Vec<Device> = others.into_iter().filter(|other| other.id != self.device).collect();
        let account = tx.account(self.user).await?;
        let account = self.check_account(account)?;
        let account = self.check_proof(tx, account, known.as_ref()).await?;
        let EndedDevices { ended, evicted } = self.apply_session_policy(tx, known.is_none(), others).await?;
        let (device, kept_device_token, rotated_session_token) = self.device_after_login(known);
        tx.put_device(&device).await?;
        Ok(CommittedLogin {
            caller: Caller::login(self.user, self.device, device.session_epoch),
            epoch: device.session_epoch,
            user: private_info(&account),
            kept_device_token,
            rotated_session_token,
            ended,
            evicted,
        })
    }
}

impl Admit {
    fn check_account(&self, account: Option<Account>) -> Result<Account, CommandError> {
        match account {
            None => Err(self.invalid_credentials()),
            Some(account) if account.disabled => Err(CommandError::new(
                ReplyCode::AccountDisabled,
                "an operator disabled or deleted this account",
            )),
            Some(account) => Ok(account),
        }
    }

    /// Checks that the proof, which was verified before the transaction, still holds. Stores the
    /// hash that replaces that of the password, if the proof contains one.
    async fn check_proof(
        &self,
        tx: &mut dyn Transaction,
        mut account: Account,
        known: Option<&Device>,
    ) -> Result<Account, Rejection> {
        match &self.method {
            LoginMethod::Login {
                proof: Proof::Password { compared, replacement },
                ..
            } => {
                if account.password_hash.as_ref() != Some(compared) {
                    return Err(self.invalid_credentials().into());
                }
                if let Some(replacement) = replacement {
                    account.password_hash = Some(replacement.clone());
                    tx.update_account(&account).await?;
                }
            }
            LoginMethod::Login {
                proof: Proof::External, ..
            }
            | LoginMethod::Trusted { .. } => {}
            LoginMethod::Resume {
                presented,
                idle_timeout,
                ..
            } => {
                if !known.is_some_and(|device| can_resume(device, *presented, *idle_timeout, self.now)) {
                    return Err(self.invalid_credentials().into());
                }
            }
        }
        Ok(account)
    }

    /// Returns the error for an unknown account or a proof that does not hold.
    fn invalid_credentials(&self) -> CommandError {
        match self.method {
            LoginMethod::Login { .. } | LoginMethod::Trusted { .. } => CommandError::bad_credentials(),
            LoginMethod::Resume { .. } => session_expired(),
        }
    }

    /// Applies the policy to the user's other devices: refuses the login because of them, or
    /// revokes the surplus ones, and with [`SessionPolicy::Reject`] ends the sessions of the rest.
    async fn apply_session_policy(
        &self,
        tx: &mut dyn Transaction,
        is_new: bool,
        mut others: Vec<Device>,
    ) -> Result<EndedDevices, Rejection> {
        match self.policy {
            SessionPolicy::Reject => {
                // If presence claims that a device is connected which has logged out, the claim is
                // out of date, or forged.
                let is_in_use = |other: &Device| self.live_devices.contains(&other.id) && other.is_logged_in();
                if others.iter().any(is_in_use) {
                    return Err(CommandError::new(
                        ReplyCode::LoggedInElsewhere,
                        "this account is in use on another device; log out there first",
                    )
                    .into());
                }
                let evicted = self.evict_oldest_devices(tx, is_new, &mut others).await?;
                // No other device seems to be online. If two devices log in at the same moment, the
                // login that commits last keeps its session.
                for other in &mut others {
                    other.session_epoch = SessionEpoch(other.session_epoch.0 + 1);
                    tx.put_device(other).await?;
                }
                let ended = others.into_iter().map(|other| other.id).collect();
                return Ok(EndedDevices { ended, evicted });
            }
            SessionPolicy::RejectNewDevices => {
                // A session in the process of an engine has no token, and is logged in while it
                // lives.
                let is_logged_in =
                    |other: &&Device| other.session_token.is_some() || self.live_devices.contains(&other.id);
                let logged_in = others.iter().filter(is_logged_in).count();
                if logged_in >= self.max_devices.max(1) as usize {
                    return Err(CommandError::new(
                        ReplyCode::TooManyDevices,
                        "too many devices are logged in; log out on one of them, or revoke one",
                    )
                    .into());
                }
            }
            SessionPolicy::Replace => {}
        }
        let evicted = self.evict_oldest_devices(tx, is_new, &mut others).await?;
        Ok(EndedDevices {
            ended: Vec::new(),
            evicted,
        })
    }

    /// Deletes devices, also from `others`, if a new device would exceed the maximum number of
    /// devices: first those that are logged out, last those that are connected, and of each of
    /// these groups first the one that logged in or resumed the longest time ago. Returns the
    /// deleted devices.
    async fn evict_oldest_devices(
        &self,
        tx: &mut dyn Transaction,
        is_new: bool,
        others: &mut Vec<Device>,
    ) -> Result<Vec<DeviceId>, Rejection> {
        let mut evicted = Vec::new();
        // Devices that logged in within the same millisecond differ in their epochs, which start at
        // the time of the first login in nanoseconds.
        let age = |device: &Device| (device.last_login, device.session_epoch);
        others.sort_by_key(|device| {
            (
                self.live_devices.contains(&device.id),
                device.is_logged_in(),
                age(device),
            )
        });
        let surplus = (others.len() + 1).saturating_sub(self.max_devices.max(1) as usize);
        for oldest in others.drain(..if is_new { surplus } else { 0 }) {
            tx.delete_device(self.user, oldest.id).await?;
            evicted.push(oldest.id);
        }
        Ok(evicted)
    }

    /// Returns the row of the device after this login, whether the device keeps its device token,
    /// and whether a resume has replaced its session token.
    fn device_after_login(&self, known: Option<Device>) -> (Device, bool, bool) {
        let mut device = known.unwrap_or_else(|| Device {
            user: self.user,
            id: self.device,
            name: String::new(),
            session_epoch: SessionEpoch(0),
            session_token: None,
            token_issued: None,
            replaced_token: None,
            sibling_token: None,
            device_token: None,
            created: self.now,
            last_login: self.now,
            session_expires: None,
        });
        device.session_epoch = match device.session_epoch {
            SessionEpoch(0) => self.first_epoch,
            SessionEpoch(last) => SessionEpoch(last + 1),
        };
        device.last_login = self.now;
        let (mut kept, mut rotated) = (true, false);
        match &self.method {
            LoginMethod::Login {
                name, tokens, expires, ..
            } => {
                device.name.clone_from(name);
                device.session_expires = *expires;
                device.set_session_token(Some(*tokens.session.as_bytes()), self.now);
                let stored = device.device_token.map(TokenHash::from_bytes);
                kept = stored.is_some() && stored == tokens.presented_device;
                if !kept {
                    device.device_token = Some(*tokens.device.as_bytes());
                }
            }
            LoginMethod::Trusted { name } => {
                device.name.clone_from(name);
                // This login does not expire. The token of an earlier login that expires must not
                // outlive that login.
                if device.session_expires.take().is_some() {
                    device.set_session_token(None, self.now);
                }
            }
            LoginMethod::Resume {
                presented,
                next,
                rotation_interval,
                ..
            } => rotated = self.rotate(&mut device, *presented, *next, *rotation_interval),
        }
        (device, kept, rotated)
    }

    /// Replaces the session token of a device that presents one, if that is due, or if the
    /// presented token was replaced before. Returns whether it did. If not, the presented token
    /// becomes the only valid one.
    fn rotate(&self, device: &mut Device, presented: TokenHash, next: TokenHash, interval: Duration) -> bool {
        let (presented, next) = (Some(*presented.as_bytes()), Some(*next.as_bytes()));
        if device.replaced_token == presented {
            // The client did not get the reply with the latest token, or gets it only after the
            // reply to this resume, for example because a slow node executes an earlier attempt
            // late. So the latest token stays valid too.
            let sibling = device.session_token;
            device.set_session_token(next, self.now);
            (device.replaced_token, device.sibling_token) = (presented, sibling);
            return true;
        }
        let issued = device.token_issued;
        let is_due = issued.is_none_or(|issued| has_passed(issued, interval, self.now));
        device.set_session_token(if is_due { next } else { presented }, self.now);
        if is_due {
            // Until the client presents the new token, the reply with it may have been lost, so the
            // presented token stays valid.
            device.replaced_token = presented;
        } else {
            device.token_issued = issued;
        }
        is_due
    }
}

/// Returns whether this time has passed since `start`.
fn has_passed(start: Timestamp, time: Duration, now: Timestamp) -> bool {
    let elapsed = u64::try_from(now.0.saturating_sub(start.0));
    elapsed.is_ok_and(|elapsed| u128::from(elapsed) >= time.as_millis())
}

/// Returns whether a session token resumes the session of a device. It has to be the latest token
/// (`session_token`), the token that the latest one replaced (`replaced_token`), or another token
/// that replaced that same token (`sibling_token`). Neither the login nor the token may have
/// expired.
pub(in crate::engine) fn can_resume(
    device: &Device,
    presented: TokenHash,
    idle_timeout: Duration,
    now: Timestamp,
) -> bool {
    let Some(latest) = device.session_token else {
        return false;
    };
    let tokens = [Some(latest), device.replaced_token, device.sibling_token];
    let is_known = tokens
        .into_iter()
        .flatten()
        .map(TokenHash::from_bytes)
        .any(|token| token == presented);
    let is_idle = has_passed(device.last_login, idle_timeout, now);
    let has_expired = device.session_expires.is_some_and(|expires| expires <= now);
    is_known && !is_idle && !has_expired
}

/// Returns the error for a session token that is not valid.
pub(in crate::engine) fn session_expired() -> CommandError {
    CommandError::new(ReplyCode::SessionExpired, "the session has ended; log in again")
}
