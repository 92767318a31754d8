//! Fencing: a unit of work executes a command of a session only while the session's login is the
//! latest one of its device and has not expired. For an application or an operator that acts for a
//! user, it executes a command only while the user's account is enabled.

use std::collections::{HashMap, HashSet};

use crate::engine::error::{CommandError, Rejection};
use crate::model::{Account, Caller, CloseCode, Device, DeviceId, Origin, Timestamp, UserId};
use crate::store::{StoreError, Transaction};

/// Fails unless the caller may still act; see [`refusals`]. Must be called after the locks are
/// taken, so that it sees every login that was committed before.
pub(crate) async fn fence(tx: &mut dyn Transaction, caller: Caller, now: Timestamp) -> Result<(), Rejection> {
    match refusals(tx, [caller], now).await?.remove(&caller) {
        None => Ok(()),
        Some(refusal) => Err(refusal.into()),
    }
}

/// Returns the refusals of those callers that may not act. A device may act if its login is the
/// latest one and has not expired; an application or operator, if the account is enabled.
pub(crate) async fn refusals(
    tx: &mut dyn Transaction,
    callers: impl IntoIterator<Item = Caller>,
    now: Timestamp,
) -> Result<HashMap<Caller, CommandError>, StoreError> {
    let callers: HashSet<Caller> = callers.into_iter().collect();
    let keys: Vec<(UserId, DeviceId)> = callers
        .iter()
        .filter_map(|caller| Some((caller.user, caller.device()?)))
        .collect();
    let devices = if keys.is_empty() {
        Vec::new()
    } else {
        tx.devices_in(&keys).await?
    };
    let mut refusals = HashMap::new();
    for caller in callers {
        let device = devices
            .iter()
            .find(|device| device.user == caller.user && Some(device.id) == caller.device());
        // If the caller is a device, the account is read only to find out why the login has ended.
        if device.and_then(|device| live_login(device, now)) != Some(caller) {
            let account = tx.account(caller.user).await?;
            if let Err(refusal) = check_live(caller, device, account.as_ref(), now) {
                refusals.insert(caller, refusal);
            }
        }
    }
    Ok(refusals)
}

/// Fails unless the caller may act. `device` is the stored device of the caller, if there is one;
/// `account` is the account of the caller's user.
pub(crate) fn check_live(
    caller: Caller,
    device: Option<&Device>,
    account: Option<&Account>,
    now: Timestamp,
) -> Result<(), CommandError> {
    let is_disabled = account.is_none_or(|account| account.disabled);
    match caller.origin {
        Origin::Application | Origin::Operator if is_disabled => Err(CommandError::account_unusable()),
        Origin::Application | Origin::Operator => Ok(()),
        Origin::Device { .. } if device.and_then(|device| live_login(device, now)) == Some(caller) => Ok(()),
        Origin::Device { epoch, .. } => {
            let other_login = device.filter(|device| device.session_epoch != epoch);
            let is_logged_in = other_login.is_some_and(Device::is_logged_in);
            Err(CommandError::fenced(CloseCode::of_ended_login(
                is_disabled,
                is_logged_in,
            )))
        }
    }
}

/// Returns the caller of a device's latest login, unless that login has expired.
pub(crate) fn live_login(device: &Device, now: Timestamp) -> Option<Caller> {
    let has_expired = device.session_expires.is_some_and(|expires| expires <= now);
    (!has_expired).then(|| Caller::login(device.user, device.id, device.session_epoch))
}

/// Device id that is reserved for the lock of a user. The row with this id serialises logins of the
/// user, changes of the user's account, revocations of the user's devices, blocks by the user,
/// creations of groups by the user, transfers of groups to the user, and transfers of the user's
/// groups because the account is disabled.
pub(crate) const USER_LOCK: DeviceId = DeviceId::NONE;

/// Takes the lock of a user. Must be taken before every other lock.
pub(crate) async fn lock_user(tx: &mut dyn Transaction, user: UserId) -> Result<(), StoreError> {
    tx.lock_device(user, USER_LOCK).await.map(drop)
}
