//! Commands about the caller's own account and devices.

use std::sync::Arc;

use crate::auth::{DeviceToken, Password, PasswordAuthenticator, SessionToken, TokenError};
use crate::engine::directory::Directory;
use crate::engine::error::CommandError;
use crate::engine::hook_calls::HookCalls;
use crate::engine::limits::UserLimits;
use crate::engine::operations::account::{ChangePassword, Logout, PhcString, RevokeDevice, UpdateProfile};
use crate::engine::query_lanes::QueryPermit;
use crate::engine::store_access::StoreAccess;
use crate::engine::workers::{PresenceView, SessionEnder};
use crate::model::{
    Caller, CloseCode, Device, DeviceId, DeviceInfo, Outcome, ProfileChanges, ReplyCode, Secret, SessionTokens, UserRef,
};
use crate::router::SessionSelector;

#[derive(Debug)]
pub(in crate::engine) struct AccountCommands {
    pub(in crate::engine) access: Arc<StoreAccess>,
    pub(in crate::engine) directory: Arc<Directory>,
    pub(in crate::engine) passwords: Option<Arc<PasswordAuthenticator>>,
    pub(in crate::engine) limits: Arc<UserLimits>,
    pub(in crate::engine) hooks: Arc<HookCalls>,
    pub(in crate::engine) session_ender: Arc<SessionEnder>,
    pub(in crate::engine) presence: Arc<PresenceView>,
}

impl AccountCommands {
    pub(super) async fn logout(self: Arc<Self>, caller: Caller) -> Result<Outcome, CommandError> {
        let device = caller.device().ok_or_else(CommandError::needs_device)?;
        let now = self.access.wall_time();
        let changed = self.access.run(caller, Logout { caller, device, now }).await;
        let own = SessionSelector::Device(device);
        self.session_ender
            .end_after(caller.user, own, CloseCode::LoggedOut, changed)?;
        Ok(Outcome::Done)
    }

    pub(super) async fn change_password(
        self: Arc<Self>,
        caller: Caller,
        old: Secret,
        new: Secret,
    ) -> Result<Outcome, CommandError> {
        let device = caller.device().ok_or_else(CommandError::needs_device)?;
        let Some(passwords) = &self.passwords else {
            return Err(CommandError::new(
                ReplyCode::RefusedByPolicy,
                "this server stores no passwords; change yours with your identity provider",
            ));
        };
        let new = Password::normalized(&new)?;
        let account = self.directory.account(&UserRef::Id(caller.user)).await?;
        let Some(old_hash) = passwords.confirm(&account, device, old).await? else {
            // A client that repeats a change whose answer was lost also fails here, because the
            // change was committed and the old password is no longer right. In that case, the
            // sessions that the change ended may still be open.
            self.session_ender.recheck(caller.user, CloseCode::Revoked);
            return Err(CommandError::bad_credentials());
        };
        let new = passwords.hash(new).await?;
        let session_token = SessionToken::generate().map_err(no_entropy)?;
        let device_token = DeviceToken::generate().map_err(no_entropy)?;
        let change = ChangePassword {
            caller,
            compared: PhcString(old_hash),
            new: PhcString(new),
            session_token: session_token.hash(),
            device_token: device_token.hash(),
            now: self.access.wall_time(),
        };
        let changed = self.access.run(caller, change).await;
        let others = SessionSelector::AllExcept(device);
        let renewed = self
            .session_ender
            .end_after(caller.user, others, CloseCode::Revoked, changed)?;
        if !renewed {
            return Ok(Outcome::Done);
        }
        let tokens = SessionTokens::new(session_token.to_secret(), device_token.to_secret());
        Ok(Outcome::PasswordChanged(tokens))
    }

    pub(super) async fn revoke_device(
        self: Arc<Self>,
        caller: Caller,
        device: DeviceId,
    ) -> Result<Outcome, CommandError> {
        caller.device().ok_or_else(CommandError::needs_device)?;
        let now = self.access.wall_time();
        let changed = self.access.run(caller, RevokeDevice { caller, device, now }).await;
        let revoked = SessionSelector::Device(device);
        self.session_ender
            .end_after(caller.user, revoked, CloseCode::Revoked, changed)?;
        Ok(Outcome::Done)
    }

    /// Changes the caller's profile. If `allowed` is an error, because the caller exceeds the rate
    /// of changes, only a command that changes nothing succeeds.
    pub(super) async fn update_profile(
        self: Arc<Self>,
        caller: Caller,
        changes: ProfileChanges,
        allowed: Result<(), CommandError>,
    ) -> Result<Outcome, CommandError> {
        if allowed.is_err() {
            self.limits.charge_attempt(caller.user).await?;
        }
        let changes = self.hooks.before_update_profile(caller, changes).await?;
        let now = self.access.wall_time();
        let change = UpdateProfile {
            caller,
            changes,
            allowed,
            now,
        };
        Ok(Outcome::User(self.access.run(caller, change).await?))
    }

    pub(super) async fn list_devices(
        self: Arc<Self>,
        caller: Caller,
        mut permit: QueryPermit,
    ) -> Result<Outcome, CommandError> {
        let devices = self.access.read(self.access.store().devices(caller.user)).await?;
        permit.add_rows(devices.len());
        // Other queries of the user do not wait while presence is looked up.
        drop(permit);
        let online = self.presence.live_devices(caller.user).await;
        let info = |device: Device| DeviceInfo {
            online: online.contains(&device.id),
            current: Some(device.id) == caller.device(),
            id: device.id,
            name: device.name,
            created: device.created,
            last_login: device.last_login,
        };
        Ok(Outcome::Devices(devices.into_iter().map(info).collect()))
    }
}

/// Logs that no token could be generated, and returns the error for the caller.
pub(super) fn no_entropy(error: TokenError) -> CommandError {
    tracing::error!(%error, "cannot generate tokens");
    CommandError::internal()
}
