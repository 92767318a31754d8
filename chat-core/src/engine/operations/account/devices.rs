//! Logging out and revoking devices.

use async_trait::async_trait;

use crate::engine::error::{CommandError, Rejection};
use crate::engine::operation::{Operation, WriteIntents};
use crate::engine::operations::fence::{USER_LOCK, fence, lock_user};
use crate::model::{Caller, DeviceId, Timestamp};
use crate::store::Transaction;

/// Ends the session of the caller's device and revokes its session token. The device token stays
/// valid.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Logout {
    pub(in crate::engine) caller: Caller,
    /// The caller's device.
    pub(in crate::engine) device: DeviceId,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for Logout {
    type Output = ();

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<(), Rejection> {
        let device = tx.lock_device(self.caller.user, self.device).await?;
        fence(tx, self.caller, self.now).await?;
        if let Some(mut device) = device {
            device.end_login(self.now);
            tx.put_device(&device).await?;
        }
        Ok(())
    }
}

/// Deletes a device of the caller's user, with its tokens and cursors.
#[derive(Clone, Debug)]
pub(in crate::engine) struct RevokeDevice {
    pub(in crate::engine) caller: Caller,
    /// Device to delete.
    pub(in crate::engine) device: DeviceId,
    pub(in crate::engine) now: Timestamp,
}

#[async_trait]
impl Operation for RevokeDevice {
    type Output = ();

    async fn apply(&mut self, tx: &mut dyn Transaction, _intents: &WriteIntents) -> Result<(), Rejection> {
        let user = self.caller.user;
        lock_user(tx, user).await?;
        let device = tx.lock_device(user, self.device).await?;
        fence(tx, self.caller, self.now).await?;
        if device.is_none() || self.device == USER_LOCK {
            return Err(CommandError::not_found().into());
        }
        tx.delete_device(user, self.device).await?;
        Ok(())
    }
}
