//! Name and source of the operator who runs a command, for the audit log.

use chat_core::engine::operator::OperatorName;
use nix::unistd::{Uid, User, getuid};

/// Returns the login name of the user who runs this program, truncated to
/// [`OperatorName::MAX_BYTES`]; or `uid` and the number if the user has no login name, or one that
/// is not valid in the audit log. Does not read the environment, which the user can change.
pub(super) fn login_name() -> String {
    login_name_of(getuid().as_raw())
}

/// Returns the login name of a user, as [`login_name`] does for the user who runs this program.
pub(super) fn login_name_of(uid: u32) -> String {
    let uid = Uid::from_raw(uid);
    let account = User::from_uid(uid).ok().flatten().map(|account| account.name);
    let shortened = account.map(|name| {
        let name = name.trim();
        name[..name.floor_char_boundary(OperatorName::MAX_BYTES)]
            .trim_end()
            .to_owned()
    });
    shortened
        .filter(|name| OperatorName::new(name.as_str()).is_ok())
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// Returns the source of the commands for the audit log: this program, the login name of the user
/// who runs it, and the user who called `sudo`, if `SUDO_USER` is set.
pub(super) fn source() -> String {
    source_of(getuid().as_raw(), sudo_user().as_deref())
}

/// Returns the source of the commands of a user, as [`source`] does for the user who runs this
/// program.
pub(super) fn source_of(uid: u32, sudo_user: Option<&str>) -> String {
    let mut source = format!("chat-server run by {}", login_name_of(uid));
    if let Some(caller) = sudo_user {
        source.push_str(&format!(" (SUDO_USER={caller})"));
    }
    source
}

/// Returns the user who called `sudo`, if `SUDO_USER` is set.
pub(crate) fn sudo_user() -> Option<String> {
    std::env::var("SUDO_USER").ok()
}
