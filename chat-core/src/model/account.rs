//! Users, their devices and their relations.

use super::{DeviceId, SessionEpoch, Timestamp, UserId};

/// Who may send direct messages to a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DirectPolicy {
    /// Friends.
    #[default]
    Friends,
    /// Everyone they have not blocked.
    Everyone,
}

/// A user's row.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: UserId,
    /// Unique, canonical.
    pub name: String,
    /// Form of `name` under which look-alikes collide; unique.
    pub skeleton: String,
    /// What people see beside the name.
    pub display_name: String,
    /// PHC string; absent where the application authenticates.
    pub password_hash: Option<String>,
    /// Who may write to them.
    pub direct_policy: DirectPolicy,
    /// Whether the account may not log in.
    pub disabled: bool,
    /// Time of creation.
    pub created: Timestamp,
    /// Identifier by which the application knows the user, in any form (`auth0|…`, a UUID, an e-mail
    /// address); unique, compared byte by byte.
    pub subject: Option<String>,
    /// Time of deletion. A deleted account is disabled and has no personal data; its row stays for the
    /// conversations of other users.
    pub deleted: Option<Timestamp>,
}

impl Account {
    /// Maximum size of a subject, in bytes.
    pub const MAX_SUBJECT_BYTES: usize = 255;
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A user as others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// Id.
    pub id: UserId,
    /// Unique name.
    pub name: String,
    /// What people see beside the name.
    pub display_name: String,
    /// Only in what a user is told of themselves.
    pub direct_policy: Option<DirectPolicy>,
}

/// A device's row. It outlives its sessions; revoking deletes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub id: DeviceId,
    /// For the user's list.
    pub name: String,
    /// The login that is live; a session with another is fenced off.
    pub session_epoch: SessionEpoch,
    /// SHA-256 of the token that resumes; absent after logout.
    pub session_token: Option<[u8; 32]>,
    /// SHA-256 of the token that shows the login throttle a known device.
    pub device_token: Option<[u8; 32]>,
    /// First login.
    pub created: Timestamp,
    /// Latest login or resume.
    pub last_login: Timestamp,
    /// Time after which the session can no longer be resumed, as the authenticator set it at login.
    pub session_expires: Option<Timestamp>,
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

/// What one user is to another, seen from one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContactState {
    /// Nothing.
    #[default]
    None,
    /// `owner` asked `peer`.
    Requested,
    /// `peer` asked `owner`.
    Pending,
    /// Friends; then the other side's row says so too.
    Friend,
}

/// One side of a relation. The two sides are two rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Whose side.
    pub owner: UserId,
    /// The other.
    pub peer: UserId,
    /// What they are to each other.
    pub state: ContactState,
    /// `owner` blocked `peer`.
    pub blocked: bool,
    /// Of the request.
    pub note: String,
    /// Since when.
    pub since: Timestamp,
}

/// Whether a user can be reached now. Ordered: the most present of a user's sessions counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PresenceState {
    /// No session.
    #[default]
    Offline,
    /// Sessions, all idle.
    Idle,
    /// At least one session in use.
    Online,
}
