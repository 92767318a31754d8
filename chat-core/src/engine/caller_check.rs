//! [`check_caller`]: the check that a caller may still act, for requests in which no unit of work
//! makes this check.

use super::error::CommandError;
use super::operations::fence;
use super::store_access::StoreAccess;
use crate::model::Caller;

/// Refuses a caller that may not act any more, by the rules of the [`fence`] of units of work. Also
/// fails if the store cannot be read.
pub(super) async fn check_caller(access: &StoreAccess, caller: Caller) -> Result<(), CommandError> {
    let device = match caller.device() {
        Some(device) => access.read(access.store().device(caller.user, device)).await?,
        None => None,
    };
    let now = access.wall_time();
    if device
        .as_ref()
        .is_some_and(|device| fence::live_login(device, now) == Some(caller))
    {
        return Ok(());
    }
    let account = access.read(access.store().account(caller.user)).await?;
    fence::check_live(caller, device.as_ref(), account.as_ref(), now)
}
