//! Conversion of the profiles of users, and of a user's own presence and devices.

use super::{enums, parts};
use crate::codec::error::{InvalidRequest, Malformed};
use crate::codec::proto;
use crate::model::{
    Command, DeviceId, DeviceInfo, DisplayName, PresenceState, ProfileChanges, Timestamp, UserId, UserInfo,
};

pub(super) fn to_update_profile(update: proto::UpdateProfile) -> Result<Command, InvalidRequest> {
    Ok(Command::UpdateProfile(ProfileChanges {
        display_name: update.display_name.as_deref().map(DisplayName::parse).transpose()?,
        direct_policy: parts::to_enum(update.direct_policy, "direct_policy", enums::to_direct_policy)?,
    }))
}

pub(super) fn to_set_presence(set: &proto::SetPresence) -> Result<Command, InvalidRequest> {
    match enums::to_presence(set.presence) {
        Some(state @ (PresenceState::Online | PresenceState::Idle)) => Ok(Command::SetPresence(state)),
        Some(PresenceState::Offline) | None => Err(InvalidRequest::argument("presence must be ONLINE or IDLE")),
    }
}

pub(super) fn user_info(user: &UserInfo) -> proto::UserInfo {
    proto::UserInfo {
        id: user.id.0,
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        direct_policy: user.direct_policy.map_or(0, enums::direct_policy),
    }
}

pub(super) fn to_user_info(user: proto::UserInfo) -> Result<UserInfo, Malformed> {
    if user.id == 0 {
        return Err(Malformed::Field("user id"));
    }
    Ok(UserInfo {
        id: UserId(user.id),
        name: user.name,
        display_name: user.display_name,
        direct_policy: enums::to_direct_policy(user.direct_policy),
    })
}

pub(super) fn device_info(device: &DeviceInfo) -> proto::DeviceInfo {
    proto::DeviceInfo {
        device: parts::id(device.id.0),
        name: device.name.clone(),
        created_ms: device.created.0,
        last_login_ms: device.last_login.0,
        online: device.online,
        current: device.current,
    }
}

pub(super) fn to_device_info(device: proto::DeviceInfo) -> Result<DeviceInfo, Malformed> {
    Ok(DeviceInfo {
        id: DeviceId::try_from(&device.device[..]).map_err(|_| Malformed::Field("device"))?,
        name: device.name,
        created: Timestamp(device.created_ms),
        last_login: Timestamp(device.last_login_ms),
        online: device.online,
        current: device.current,
    })
}
