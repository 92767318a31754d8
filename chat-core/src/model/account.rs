//! Users, their devices and their contacts.

use super::{DeviceId, SessionEpoch, Timestamp, UserId};

/// Users who may send direct messages to a user, unless one of the two has blocked the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum DirectPolicy {
    /// Friends of the user only.
    #[default]
    Friends,
    /// All users.
    Everyone,
    /// Friends, and users to whom the user has sent a direct message.
    Replies,
}

/// Stored account of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Id of the user.
    pub id: UserId,
    /// Unique canonical name.
    pub name: String,
    /// Form of `name` that is equal for names that look alike; unique.
    pub skeleton: String,
    /// Name that is shown beside the unique name.
    pub display_name: String,
    /// Password hash as a PHC string; absent if the account has no password, for example because
    /// the application authenticates its users.
    pub password_hash: Option<String>,
    /// Users who may send direct messages to the user.
    pub direct_policy: DirectPolicy,
    /// True if the user may not log in, and no application or operator may act for the user.
    pub disabled: bool,
    /// Time when the account was created.
    pub created: Timestamp,
    /// Identifier by which the application knows the user, in any form (`auth0|…`, a UUID, an
    /// e-mail address); unique, compared byte by byte. Absent if the application gave none. In a
    /// deleted account, a digest of the identifier while it is reserved, otherwise absent.
    pub subject: Option<String>,
    /// Time of deletion; absent if the account is not deleted. A deleted account is disabled. Of
    /// its personal data, it keeps at most its name and a digest of its subject, so that no other
    /// account gets them. Its row stays for the conversations of other users.
    pub deleted: Option<Timestamp>,
}

impl Account {
    /// Maximum size of a subject, in bytes.
    pub(crate) const MAX_SUBJECT_BYTES: usize = 255;
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Profile of a user, as other users see it; for the user itself, also with `direct_policy`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UserInfo {
    /// Id of the user.
    pub id: UserId,
    /// Unique name of the user.
    pub name: String,
    /// Name that is shown beside the unique name.
    pub display_name: String,
    /// Users who may send direct messages to the user; `None` in the profiles of other users.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub direct_policy: Option<DirectPolicy>,
}

impl UserInfo {
    /// Returns a user whose display name is their name.
    #[must_use]
    pub fn new(id: UserId, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            id,
            display_name: name.clone(),
            name,
            direct_policy: None,
        }
    }
}

/// Stored device of a user. It outlives its sessions. It is deleted with the account, when it is
/// revoked, or when a new device logs in and the user would have too many devices. Then devices
/// that are logged out are deleted first, and connected devices last; among the devices of one of
/// these kinds, the one that logged in or resumed its session least recently is deleted first.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// User of the device.
    pub user: UserId,
    /// Id of the device.
    pub id: DeviceId,
    /// Name in the user's list of devices.
    pub name: String,
    /// Number of the valid session, if there is one: a login or resume raises it, and so does a
    /// change that ends the session. A session with another number is no longer valid.
    pub session_epoch: SessionEpoch,
    /// SHA-256 of the token that resumes the session; absent if there is none, for example after
    /// logout.
    pub session_token: Option<[u8; 32]>,
    /// Time when `session_token` was issued; absent if there is no token, or a node of an earlier
    /// release issued it.
    pub token_issued: Option<Timestamp>,
    /// SHA-256 of the token that `session_token` replaced, until `session_token` is used. It
    /// resumes the session too, because the reply with the new token may have been lost.
    pub replaced_token: Option<[u8; 32]>,
    /// SHA-256 of the token in an earlier reply to `replaced_token`, if that token was presented
    /// more than once. It resumes the session too, because that reply may be the one that arrived.
    pub sibling_token: Option<[u8; 32]>,
    /// SHA-256 of the token by which the login throttle recognises the device; absent if the device
    /// has none.
    pub device_token: Option<[u8; 32]>,
    /// Time of the first login.
    pub created: Timestamp,
    /// Time of the latest login or resume.
    pub last_login: Timestamp,
    /// Time at which the session ends and can no longer be resumed, as the authenticator set it at
    /// login; absent if the login does not expire. The end of a login sets it to the time of the
    /// end.
    pub session_expires: Option<Timestamp>,
}

impl Device {
    /// Ends the login at `now`, so that its session is no longer valid and cannot be resumed.
    pub(crate) fn end_login(&mut self, now: Timestamp) {
        self.set_session_token(None, now);
        self.session_expires = Some(now);
        self.session_epoch = SessionEpoch(self.session_epoch.0 + 1);
    }

    /// Sets the session token, so that no earlier one is valid.
    pub(crate) fn set_session_token(&mut self, token: Option<[u8; 32]>, now: Timestamp) {
        self.session_token = token;
        self.token_issued = token.map(|_| now);
        self.replaced_token = None;
        self.sibling_token = None;
    }

    /// Returns whether the latest login was not [ended](Self::end_login); it may have expired. The
    /// login of a session in the process of the engine has no token and does not expire.
    pub(crate) const fn is_logged_in(&self) -> bool {
        self.session_token.is_some() || self.session_expires.is_none()
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("user", &self.user)
            .field("id", &self.id)
            .field("session_epoch", &self.session_epoch)
            .finish_non_exhaustive()
    }
}

/// State of a [`Contact`], whose `owner` and `peer` the variants refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum ContactState {
    /// The users are not friends, and no request is open that `owner` sent or may answer.
    #[default]
    None,
    /// `owner` sent a friend request to `peer`.
    Requested,
    /// `peer` sent a friend request to `owner`.
    Pending,
    /// The users are friends. The other user's contact has this state too.
    Friend,
}

/// Stored contact: the relation of `owner` to `peer`. The opposite direction is a separate contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// User whose contact this is.
    pub owner: UserId,
    /// The other user.
    pub peer: UserId,
    /// State of the contact.
    pub state: ContactState,
    /// True if `owner` blocked `peer`.
    pub blocked: bool,
    /// Text of the open friend request; empty if there is no request or it has no text.
    pub note: String,
    /// Time at which the state changed last or, if it never did, `owner` blocked `peer`.
    pub since: Timestamp,
}

/// Presence of a user: the greatest state among the user's sessions, in the order of the variants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum PresenceState {
    /// The user has no session.
    #[default]
    Offline,
    /// The user has sessions, all of them idle.
    Idle,
    /// The user has a session in use.
    Online,
}
