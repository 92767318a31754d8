//! Fencing: a unit of work executes a command of a session only while the session's login is the
//! latest one of its device and has not expired. For an application or an operator that acts for a
//! user, it executes a command only while the user's account is enabled.

use std::collections::HashSet;

use crate::engine::error::{CommandError, Rejection};
use crate::model::{Caller, Device, DeviceId, Origin, Timestamp, UserId};
use crate::store::{StoreError, Transaction};

/// Fails unless the caller may still act; see [`live`]. Must be called after the locks are taken,
/// so that it sees every login that was committed before.
pub(crate) async fn fence(tx: &mut dyn Transaction, caller: Caller, now: Timestamp) -> Result<(), Rejection> {
    if live(tx, [caller], now).await?.contains(&caller) {
        Ok(())
    } else {
        Err(not_live(caller).into())
    }
}

/// Returns those of the callers that may still act: devices whose login is the latest one and has
/// not expired, and applications and operators that act for an enabled account.
pub(crate) async fn live(
    tx: &mut dyn Transaction,
    callers: impl IntoIterator<Item = Caller>,
    now: Timestamp,
) -> Result<HashSet<Caller>, StoreError> {
    let callers: HashSet<Caller> = callers.into_iter().collect();
    let mut live = HashSet::with_capacity(callers.len());
    let mut devices: Vec<(UserId, DeviceId)> = Vec::with_capacity(callers.len());
    for caller in &callers {
        match caller.origin {
            Origin::Device { device, .. } => devices.push((caller.user, device)),
            Origin::Application | Origin::Operator => {
                let account = tx.account(caller.user).await?;
                if account.is_some_and(|account| !account.disabled) {
                    live.insert(*caller);
                }
            }
        }
    }
    if !devices.is_empty() {
        let latest = tx.devices_in(&devices).await?;
        let latest = latest.iter().filter_map(|device| live_login(device, now));
        live.extend(latest.filter(|login| callers.contains(login)));
    }
    Ok(live)
}

/// Returns the caller of a device's latest login, unless that login has expired.
pub(crate) fn live_login(device: &Device, now: Timestamp) -> Option<Caller> {
    let has_expired = device.session_expires.is_some_and(|expires| expires <= now);
    (!has_expired).then(|| Caller::login(device.user, device.id, device.session_epoch))
}

/// Returns the error for a caller that is not [`live`].
pub(crate) fn not_live(caller: Caller) -> CommandError {
    match caller.origin {
        Origin::Application | Origin::Operator => CommandError::account_unusable(),
        Origin::Device { .. } => CommandError::fenced(),
    }
}

/// Device id that is reserved for the lock of a user. The row with this id serialises logins of the
/// user, changes of the user's account and devices, and the creation of groups by the user.
pub(crate) const USER_LOCK: DeviceId = DeviceId::NONE;

/// Takes the lock of a user. Must be taken before every other lock.
pub(crate) async fn lock_user(tx: &mut dyn Transaction, user: UserId) -> Result<(), StoreError> {
    tx.lock_device(user, USER_LOCK).await.map(drop)
}
