//! Changes that users make to their own accounts.

use async_trait::async_trait;

use super::{PasswordRecord, private};
use crate::engine::error::{CommandError, Refusal, refusals};
use crate::engine::fence::{fence, lock_user};
use crate::model::{Caller, DirectPolicy, DisplayName, SessionEpoch, UserInfo};
use crate::store::{Operation, Transaction};

/// Replaces the password and ends every other session of the user.
#[derive(Clone, Debug)]
pub(in crate::engine) struct ChangePassword {
    pub(in crate::engine) caller: Caller,
    /// The record that the old password was compared with.
    pub(in crate::engine) compared: PasswordRecord,
    pub(in crate::engine) new: PasswordRecord,
}

#[async_trait]
impl Operation for ChangePassword {
    type Output = ();
    refusals!();

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<(), Refusal> {
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
        for mut other in devices {
            if other.id != self.caller.device {
                other.session_token = None;
                other.device_token = None;
                other.session_epoch = SessionEpoch(other.session_epoch.0 + 1);
                tx.put_device(&other).await?;
            }
        }
        Ok(())
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
    refusals!();

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<UserInfo, Refusal> {
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
