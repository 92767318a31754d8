//! Letting a device in: what every login and resume commits.

use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::private;
use crate::auth::{Proof, TokenHash};
use crate::engine::config::SessionPolicy;
use crate::engine::error::{CommandError, Refusal};
use crate::engine::fence::lock_user;
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Account, Caller, Device, DeviceId, ReplyCode, SessionEpoch, Timestamp, UserId, UserInfo};
use crate::store::Transaction;

/// Begins a session of a device: checks that it may, and fences off the device's older session.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Admit {
    pub(in crate::engine) user: UserId,
    pub(in crate::engine) device: DeviceId,
    pub(in crate::engine) way: Way,
    pub(in crate::engine) policy: SessionPolicy,
    pub(in crate::engine) max_devices: u32,
    /// Whether another device of the user has a live session, as far as the cluster knows.
    pub(in crate::engine) live_elsewhere: bool,
    /// For a device without a past. One that was revoked has lost its count, so this has to lie after whatever it can have
    /// reached: see [`first_epoch`].
    pub(in crate::engine) first_epoch: SessionEpoch,
    pub(in crate::engine) now: Timestamp,
}

/// An epoch after those of any device that began before: the time in nanoseconds, since nobody logs in that often.
pub(in crate::engine) fn first_epoch() -> SessionEpoch {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX);
    // Stores keep it as a signed integer.
    SessionEpoch(nanos.clamp(1, u64::MAX >> 2))
}

/// How a device comes in.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Way {
    /// With a verdict of the authenticator.
    Login { name: String, proof: Proof, tokens: Tokens },
    /// With the token of an earlier login.
    Resume(TokenHash),
    /// In this process.
    Trusted { name: String },
}

/// What a login makes for the device to keep; the store has the hashes.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Tokens {
    pub(in crate::engine) session: TokenHash,
    pub(in crate::engine) device: TokenHash,
    /// What was presented as the device token; if the store knows it, it stays.
    pub(in crate::engine) presented_device: Option<TokenHash>,
}

/// What was committed.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Admitted {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) user: UserInfo,
    /// The device token that was presented stays valid.
    pub(in crate::engine) kept_device_token: bool,
    /// Devices whose sessions ended with this.
    pub(in crate::engine) ended: Vec<DeviceId>,
}

#[async_trait]
impl Operation for Admit {
    type Output = Admitted;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<Admitted, Refusal> {
        lock_user(tx, self.user).await?;
        let known = tx.lock_device(self.user, self.device).await?;
        let others = tx.devices_of(self.user).await?;
        let others: Vec<Device> = others.into_iter().filter(|other| other.id != self.device).collect();
        let account = tx.account(self.user).await?;
        let account = self.check_account(account)?;
        let account = self.check_proof(tx, account, known.as_ref()).await?;
        let ended = self.make_room(tx, known.is_none(), others).await?;
        let (device, kept_device_token) = self.next_login(known);
        tx.put_device(&device).await?;
        Ok(Admitted {
            caller: Caller {
                user: self.user,
                device: self.device,
                epoch: device.session_epoch,
            },
            user: private(&account),
            kept_device_token,
            ended,
        })
    }
}

impl Admit {
    fn check_account(&self, account: Option<Account>) -> Result<Account, CommandError> {
        match account {
            None => Err(self.unproven()),
            Some(account) if account.disabled => Err(CommandError::new(
                ReplyCode::AccountDisabled,
                "an operator disabled this account",
            )),
            Some(account) => Ok(account),
        }
    }

    /// Whether what was checked before the transaction still holds.
    async fn check_proof(
        &self,
        tx: &mut dyn Transaction,
        mut account: Account,
        known: Option<&Device>,
    ) -> Result<Account, Refusal> {
        match &self.way {
            Way::Login {
                proof: Proof::Password { compared, stronger },
                ..
            } => {
                if account.password_hash.as_ref() != Some(compared) {
                    return Err(self.unproven().into());
                }
                if let Some(stronger) = stronger {
                    account.password_hash = Some(stronger.clone());
                    tx.update_account(&account).await?;
                }
            }
            Way::Login {
                proof: Proof::External, ..
            }
            | Way::Trusted { .. } => {}
            Way::Resume(presented) => {
                let stored = known.and_then(|device| device.session_token).map(TokenHash::from_bytes);
                if stored != Some(*presented) {
                    return Err(self.unproven().into());
                }
            }
        }
        Ok(account)
    }

    fn unproven(&self) -> CommandError {
        match self.way {
            Way::Login { .. } | Way::Trusted { .. } => CommandError::bad_credentials(),
            Way::Resume(_) => session_expired(),
        }
    }

    /// Applies the policy to the user's other devices.
    async fn make_room(
        &self,
        tx: &mut dyn Transaction,
        is_new: bool,
        mut others: Vec<Device>,
    ) -> Result<Vec<DeviceId>, Refusal> {
        match self.policy {
            SessionPolicy::Reject => {
                if self.live_elsewhere {
                    return Err(CommandError::new(
                        ReplyCode::LoggedInElsewhere,
                        "this account is in use on another device; log out there first",
                    )
                    .into());
                }
                // Nobody seemed to be there. If two come at the same moment, the one that commits last stays.
                for other in &mut others {
                    other.session_epoch = SessionEpoch(other.session_epoch.0 + 1);
                    tx.put_device(other).await?;
                }
                Ok(others.into_iter().map(|other| other.id).collect())
            }
            SessionPolicy::MaxDevices(max) => {
                let logged_in = others.iter().filter(|other| other.session_token.is_some()).count();
                if logged_in >= max as usize {
                    return Err(CommandError::new(
                        ReplyCode::TooManyDevices,
                        "too many devices are logged in; log out on one of them, or revoke one",
                    )
                    .into());
                }
                self.forget_oldest(tx, is_new, others).await
            }
            SessionPolicy::Replace => self.forget_oldest(tx, is_new, others).await,
        }
    }

    async fn forget_oldest(
        &self,
        tx: &mut dyn Transaction,
        is_new: bool,
        mut others: Vec<Device>,
    ) -> Result<Vec<DeviceId>, Refusal> {
        let mut forgotten = Vec::new();
        others.sort_by_key(|device| device.last_login);
        let surplus = (others.len() + 1).saturating_sub(self.max_devices.max(1) as usize);
        for oldest in others.iter().take(if is_new { surplus } else { 0 }) {
            tx.delete_device(self.user, oldest.id).await?;
            forgotten.push(oldest.id);
        }
        Ok(forgotten)
    }

    fn next_login(&self, known: Option<Device>) -> (Device, bool) {
        let mut device = known.unwrap_or_else(|| Device {
            user: self.user,
            id: self.device,
            name: String::new(),
            session_epoch: SessionEpoch(0),
            session_token: None,
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
        let mut kept = true;
        match &self.way {
            Way::Login { name, tokens, .. } => {
                device.name.clone_from(name);
                device.session_token = Some(*tokens.session.as_bytes());
                let stored = device.device_token.map(TokenHash::from_bytes);
                kept = stored.is_some() && stored == tokens.presented_device;
                if !kept {
                    device.device_token = Some(*tokens.device.as_bytes());
                }
            }
            Way::Trusted { name } => device.name.clone_from(name),
            Way::Resume(_) => {}
        }
        (device, kept)
    }
}

/// The token opens nothing any more, or never did.
pub(in crate::engine) fn session_expired() -> CommandError {
    CommandError::new(ReplyCode::SessionExpired, "the session is over; log in again")
}
