//! Changes that users make to their own accounts.

use async_trait::async_trait;

use super::{PhcString, private_info};
use crate::auth::TokenHash;
use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::{fence, lock_user};
use crate::model::{Caller, ProfileChanges, Timestamp, UserInfo};
use crate::store::Transaction;

/// Replaces the password, ends the logins of the user's other devices, and revokes their tokens.
/// Replaces the tokens of the caller's device if it has a session token.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ChangePassword {
    pub(in crate::engine) caller: Caller,
    /// Stored hash with which the old password was compared. If the account has another hash by
    /// now, the change is refused.
    pub(in crate::engine) compared: PhcString,
    /// Hash of the new password.
    pub(in crate::engine) new: PhcString,
    /// New session token of the caller's device.
    pub(in crate::engine) session_token: TokenHash,
    /// New device token of the caller's device.
    pub(in crate::engine) device_token: TokenHash,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for ChangePassword {
    /// `true` if the caller's device had a session token; then its tokens were replaced.
    type Output = bool;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<bool, Rejection> {
        lock_user(tx, self.caller.user).await?;
        let devices = tx.lock_devices_of(self.caller.user).await?;
        fence(tx, self.caller, self.now).await?;
        let account = tx.account(self.caller.user).await?;
        let Some(mut account) = account.filter(|account| account.password_hash.as_ref() == Some(&self.compared.0))
        else {
            return Err(CommandError::bad_credentials().into());
        };
        account.password_hash = Some(self.new.0.clone());
        tx.update_account(&account).await?;
        let mut renewed = false;
        for mut device in devices {
            if Some(device.id) != self.caller.device() {
                device.end_login(self.now);
                device.device_token = None;
            } else if device.session_token.is_some() {
                // A thief who has copied the old tokens must lose access. The session itself
                // continues.
                device.set_session_token(Some(*self.session_token.as_bytes()), self.now);
                device.device_token = Some(*self.device_token.as_bytes());
                renewed = true;
            }
            tx.put_device(&device).await?;
        }
        Ok(renewed)
    }
}

/// Changes the caller's profile, as far as `changes` contains other values.
#[derive(Clone, Debug)]
pub(in crate::engine) struct UpdateProfile {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) changes: ProfileChanges,
    /// `Ok` if the caller's rate allows a change, otherwise the error with which a change is
    /// refused.
    pub(in crate::engine) allowed: Result<(), CommandError>,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for UpdateProfile {
    type Output = UserInfo;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<UserInfo, Rejection> {
        lock_user(tx, self.caller.user).await?;
        fence(tx, self.caller, self.now).await?;
        let account = tx.account(self.caller.user).await?;
        let mut account = account.ok_or_else(CommandError::not_found)?;
        let old = (account.display_name.clone(), account.direct_policy);
        if let Some(name) = &self.changes.display_name {
            account.display_name = name.as_str().to_owned();
        }
        if let Some(policy) = self.changes.direct_policy {
            account.direct_policy = policy;
        }
        if (&account.display_name, account.direct_policy) != (&old.0, old.1) {
            self.allowed.clone()?;
            tx.update_account(&account).await?;
        }
        Ok(private_info(&account))
    }
}
