//! Requests by which a guest (a peer before login) registers, logs in or resumes a session, their
//! results, the secrets in both, and the identity for which a command is executed.

use std::fmt;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{DeviceId, DisplayName, SessionEpoch, UserId, UserInfo, UserName, UserRef};

/// Password or token. It is wiped from memory when dropped, and hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Creates a secret from these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Returns the secret's bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Network peer or process that a request comes from, for throttles and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// Network peer with this address.
    Ip(IpAddr),
    /// Caller within this process.
    Local,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Local => f.write_str("local"),
        }
    }
}

/// Request to create an account with a password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registration {
    /// Name of the account.
    pub name: UserName,
    /// Password of the account.
    pub password: Secret,
    /// Name that other users see. Default: `name`.
    pub display_name: Option<DisplayName>,
}

impl Registration {
    /// Returns a registration without a display name.
    #[must_use]
    pub const fn new(name: UserName, password: Secret) -> Self {
        Self {
            name,
            password,
            display_name: None,
        }
    }
}

/// Request of a guest to log in, with a password or a token of the application.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Login {
    /// Account to log in to; absent if the secret identifies its user, as a token of the
    /// application may.
    pub account: Option<UserRef>,
    /// Password, or a token of the application.
    pub secret: Secret,
    /// Id of the device.
    pub device: DeviceId,
    /// Name of the device in the user's list of devices; at most 64 bytes.
    pub device_name: String,
    /// Token of an earlier login of the device, by which the login throttle recognises the device.
    pub device_token: Option<Secret>,
}

impl Login {
    /// Returns a login of a device without a name, and without a token of an earlier login.
    #[must_use]
    pub fn new(account: impl Into<UserRef>, secret: Secret, device: DeviceId) -> Self {
        Self {
            account: Some(account.into()),
            secret,
            device,
            device_name: String::new(),
            device_token: None,
        }
    }

    /// Returns a login without an account, because `secret` identifies its user.
    #[must_use]
    pub const fn with_token(secret: Secret, device: DeviceId) -> Self {
        Self {
            account: None,
            secret,
            device,
            device_name: String::new(),
            device_token: None,
        }
    }
}

/// Request of a guest to resume a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resume {
    /// User of the session.
    pub user: UserId,
    /// Device of the session.
    pub device: DeviceId,
    /// Latest session token of the device: that of its last login, unless a later reply replaced
    /// it, such as that to a change of the password.
    pub session_token: Secret,
}

impl Resume {
    /// Returns a request to resume the session of `device` with its latest session token.
    #[must_use]
    pub const fn new(user: UserId, device: DeviceId, session_token: Secret) -> Self {
        Self {
            user,
            device,
            session_token,
        }
    }
}

/// New tokens of a device; its earlier tokens are invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionTokens {
    /// Token with which the device resumes its session.
    pub session_token: Secret,
    /// Token for the next [`Login`], by which the login throttle recognises the device.
    pub device_token: Secret,
}

impl SessionTokens {
    /// Returns the tokens of a device.
    #[must_use]
    pub const fn new(session_token: Secret, device_token: Secret) -> Self {
        Self {
            session_token,
            device_token,
        }
    }
}

/// Identity for which a command is executed: a user, and the means by which the user acts. It is
/// never taken from the content of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Caller {
    /// User who acts.
    pub user: UserId,
    /// Means by which the user acts.
    pub origin: Origin,
}

/// Means by which a [`Caller`] acts: a login of a device, the application, or an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// A login of a device.
    Device {
        /// Device that acts.
        device: DeviceId,
        /// Epoch of the login. It is no longer valid after a later login or resume of the same
        /// device, or after a change that ended the session.
        epoch: SessionEpoch,
    },
    /// The application that embeds the engine. It acts in the name of the user, without a login, a
    /// session or presence.
    Application,
    /// An operator of the deployment, who acts in the name of the user. The audit log records which
    /// operator.
    Operator,
}

impl Caller {
    /// Returns the identity of a device's login with this epoch.
    #[must_use]
    pub const fn login(user: UserId, device: DeviceId, epoch: SessionEpoch) -> Self {
        let origin = Origin::Device { device, epoch };
        Self { user, origin }
    }

    /// Returns the identity of an application that acts in the name of `user`.
    #[must_use]
    pub(crate) const fn application(user: UserId) -> Self {
        let origin = Origin::Application;
        Self { user, origin }
    }

    /// Returns the identity of an operator who acts in the name of `user`.
    #[must_use]
    pub(crate) const fn operator(user: UserId) -> Self {
        let origin = Origin::Operator;
        Self { user, origin }
    }

    /// Returns the device that acts; `None` unless the caller is a login of a device.
    #[must_use]
    pub const fn device(&self) -> Option<DeviceId> {
        match self.origin {
            Origin::Device { device, .. } => Some(device),
            Origin::Application | Origin::Operator => None,
        }
    }

    /// Returns the epoch of the login; `None` unless the caller is a login of a device.
    #[must_use]
    pub(crate) const fn epoch(&self) -> Option<SessionEpoch> {
        match self.origin {
            Origin::Device { epoch, .. } => Some(epoch),
            Origin::Application | Origin::Operator => None,
        }
    }

    /// Returns the caller's device or, for a caller without a device, an id that no device has.
    /// With that id, the store returns a user's memberships without a device's cursor.
    pub(crate) fn device_or_none(&self) -> DeviceId {
        self.device().unwrap_or(DeviceId::NONE)
    }
}

/// Result of a login or resume.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoginGrant {
    /// Identity of the session.
    pub caller: Caller,
    /// The user, as they see themselves.
    pub user: UserInfo,
    /// Token for the next resume; absent if the current token stays valid.
    pub session_token: Option<Secret>,
    /// Token for the next login, by which the login throttle recognises the device; absent if the
    /// current token stays valid.
    pub device_token: Option<Secret>,
}
