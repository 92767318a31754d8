//! Fencing: a unit of work acts for a login only while it is the latest login of its device.

use std::collections::HashSet;

use crate::engine::error::{CommandError, Rejection};
use crate::model::{Caller, DeviceId, UserId};
use crate::store::{StoreError, Transaction};

/// Refuses unless the caller's login is still the latest of its device. It is called after the
/// locks were taken, so that it sees every login that was answered before.
pub(crate) async fn fence(tx: &mut dyn Transaction, caller: Caller) -> Result<(), Rejection> {
    if live(tx, [caller]).await?.contains(&caller) {
        Ok(())
    } else {
        Err(CommandError::fenced().into())
    }
}

/// Returns the callers whose login is still the latest of its device.
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

/// A device id that no device has. Its row is the lock of a user: it serialises changes of the
/// user's devices, password and groups.
pub(crate) const USER_LOCK: DeviceId = DeviceId([0; 16]);

/// Takes the lock of a user. It comes before every other lock.
pub(crate) async fn lock_user(tx: &mut dyn Transaction, user: UserId) -> Result<(), StoreError> {
    tx.lock_device(user, USER_LOCK).await.map(drop)
}
