//! Who a unit of work acts for: the login must still be the device's latest.

use std::collections::HashSet;

use super::error::{CommandError, Refusal};
use crate::model::{Caller, DeviceId, UserId};
use crate::store::{StoreError, Transaction};

/// Refuses unless `caller`'s login is still the latest of its device. Call it after the locks were taken, so that it sees every login
/// that was answered before they were.
pub(crate) async fn fence(tx: &mut dyn Transaction, caller: Caller) -> Result<(), Refusal> {
    if live(tx, [caller]).await?.contains(&caller) {
        Ok(())
    } else {
        Err(CommandError::fenced().into())
    }
}

/// Those of these callers whose login is still the latest of its device.
pub(crate) async fn live(
    tx: &mut dyn Transaction,
    callers: impl IntoIterator<Item = Caller>,
) -> Result<HashSet<Caller>, StoreError> {
    let callers: HashSet<Caller> = callers.into_iter().collect();
    let devices: Vec<(UserId, DeviceId)> = callers.iter().map(|caller| (caller.user, caller.device)).collect();
    let devices = tx.devices_in(&devices).await?;
    let latest: HashSet<Caller> = devices
        .iter()
        .map(|device| Caller {
            user: device.user,
            device: device.id,
            epoch: device.session_epoch,
        })
        .collect();
    Ok(callers.intersection(&latest).copied().collect())
}

/// A device that nobody has: locking it keeps whatever changes a user's devices, password or groups from running at the
/// same time as another such change.
pub(crate) const USER_LOCK: DeviceId = DeviceId([0; 16]);

/// Takes the lock of a user. Comes before every other lock.
pub(crate) async fn lock_user(tx: &mut dyn Transaction, user: UserId) -> Result<(), StoreError> {
    tx.lock_device(user, USER_LOCK).await.map(drop)
}
