//! Name and source of the operator who runs a command, for the audit log.

use chat_core::engine::operator::OperatorName;
use nix::unistd::{User, getuid};

/// Returns the login name of the user who runs this program, truncated to
/// [`OperatorName::MAX_BYTES`]; or `uid` and the number if the user has no login name, or one that
/// is not valid in the audit log. Does not read the environment, which the user can change.
pub(super) fn login_name() -> String {
    let uid = getuid();
    let account = User::from_uid(uid).ok().flatten().map(|account| account.name);
    let mut name = account
        .filter(|name| OperatorName::new(name.trim()).is_ok() || name.len() > OperatorName::MAX_BYTES)
        .unwrap_or_else(|| format!("uid {uid}"));
    name.truncate(name.floor_char_boundary(OperatorName::MAX_BYTES));
    name
}

/// Returns the source of the commands for the audit log: this program, the login name of the user
/// who runs it, and the user who called `sudo`, if `SUDO_USER` is set.
pub(super) fn source() -> String {
    let mut source = format!("chat-server run by {}", login_name());
    if let Ok(caller) = std::env::var("SUDO_USER") {
        source.push_str(&format!(" (SUDO_USER={caller})"));
    }
    source
}
