//! Changes that users make to their own accounts.

use async_trait::async_trait;

use super::{PasswordRecord, private};
use crate::auth::TokenHash;
use crate::engine::error::{CommandError, Refusal};
use crate::engine::fence::{fence, lock_user};
use crate::engine::operation::{Operation, WriteIntents};
use crate::model::{Caller, DirectPolicy, DisplayName, SessionEpoch, UserInfo};
use crate::store::Transaction;

/// Replaces the password and the tokens of the caller's device, and ends every other session of the user.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ChangePassword {
    pub(in crate::engine) caller: Caller,
    /// The record that the old password was compared with.
    pub(in crate::engine) compared: PasswordRecord,
    pub(in crate::engine) new: PasswordRecord,
    /// What the caller's device gets instead of its tokens.
    pub(in crate::engine) session_token: TokenHash,
    pub(in crate::engine) device_token: TokenHash,
}

#[async_trait]
impl Operation for ChangePassword {
    /// Whether the caller's device had tokens, and has others now.
    type Output = bool;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<bool, Refusal> {
        lock_user(tx, self.caller.user).await?;
        let devices = tx.devices_of(self.caller.user).await?;
        fence(tx, self.caller).await?;
        let account = tx.account(self.caller.user).await?;
        let Some(mut account) = account.filter(|account| account.password_hash.as_ref() == Some(&self.compared.0))
        else {
            return Err(CommandError::bad_credentials().into());
        };
        account.password_hash = Some(self.new.0.clone());
        tx.update_account(&account).await?;
        let mut renewed = false;
        for mut device in devices {
            if device.id != self.caller.device {
                device.session_token = None;
                device.device_token = None;
                device.session_epoch = SessionEpoch(device.session_epoch.0 + 1);
            } else if device.session_token.is_some() {
                // Somebody who has read them must not outlast the change; the session goes on.
                device.session_token = Some(*self.session_token.as_bytes());
                device.device_token = Some(*self.device_token.as_bytes());
                renewed = true;
            }
            tx.put_device(&device).await?;
        }
        Ok(renewed)
    }
}

/// Changes what others see, or who may write.
#[derive(Clone, Debug)]
pub(in crate::engine) struct UpdateProfile {
    pub(in crate::engine) caller: Caller,
    pub(in crate::engine) display_name: Option<DisplayName>,
    pub(in crate::engine) direct_policy: Option<DirectPolicy>,
}

#[async_trait]
impl Operation for UpdateProfile {
    type Output = UserInfo;

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<UserInfo, Refusal> {
        lock_user(tx, self.caller.user).await?;
        fence(tx, self.caller).await?;
        let account = tx.account(self.caller.user).await?;
        let mut account = account.ok_or_else(CommandError::not_found)?;
        if let Some(name) = &self.display_name {
            account.display_name = name.as_str().to_owned();
        }
        if let Some(policy) = self.direct_policy {
            account.direct_policy = policy;
        }
        tx.update_account(&account).await?;
        Ok(private(&account))
    }
}
