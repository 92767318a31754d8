//! Who asks: secrets on the way in, identities once they were checked.

use std::fmt;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::{DeviceId, DisplayName, SessionEpoch, UserId, UserInfo, UserName, UserRef};

/// A password or token as somebody presented it. Wiped when dropped, hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// What was presented.
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

/// Where a request comes from, for throttles and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A network peer.
    Ip(IpAddr),
    /// This process.
    Local,
}

/// Request of a guest to create an account.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Name of the account.
    pub name: UserName,
    /// Password.
    pub password: Secret,
    /// Name that other users see. Default: `name`.
    pub display_name: Option<DisplayName>,
}

/// A guest's wish for a session, with a password or what the application takes for one.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose.
    pub account: UserRef,
    /// Password, or a token of the application's.
    pub secret: Secret,
    /// Which device.
    pub device: DeviceId,
    /// What the user's list of devices calls it; at most 64 bytes.
    pub device_name: String,
    /// From an earlier login of this device.
    pub device_token: Option<Secret>,
}

/// A guest's wish to take a session up again.
#[derive(Clone, Debug)]
pub struct Resume {
    /// Whose.
    pub user: UserId,
    /// Which device.
    pub device: DeviceId,
    /// From the login.
    pub session_token: Secret,
}

/// Tokens of a device that are valid from now on; earlier ones are void.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionTokens {
    /// For [`Resume`].
    pub session_token: Secret,
    /// For the next [`Login`].
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

/// Whom a session speaks for. Made by a successful login or resume, never from what a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The login; a greater one of the same device fences this one off.
    pub epoch: SessionEpoch,
}

/// What a login yields.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Whom the session speaks for.
    pub caller: Caller,
    /// The user, as they see themselves.
    pub user: UserInfo,
    /// For the next resume; absent if the one presented stays valid.
    pub session_token: Option<Secret>,
    /// For the login throttle; absent if the one presented stays valid.
    pub device_token: Option<Secret>,
}
