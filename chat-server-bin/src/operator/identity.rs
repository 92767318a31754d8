//! The person who runs a command, for the audit log.

use chat_core::engine::operator::OperatorName;
use nix::unistd::{User, getuid};

/// Returns the name of the account of the operating system under which this program runs. It does
/// not come from the environment, which whoever runs the program can set.
pub(super) fn account_name() -> String {
    let uid = getuid();
    let account = User::from_uid(uid).ok().flatten().map(|account| account.name);
    let mut name = account
        .filter(|name| OperatorName::new(name.trim()).is_ok() || name.len() > OperatorName::MAX_BYTES)
        .unwrap_or_else(|| format!("uid {uid}"));
    name.truncate(name.floor_char_boundary(OperatorName::MAX_BYTES));
    name
}

/// Returns the place that the commands of this program come from: the program and the account that
/// runs it, and what sudo says about its caller.
pub(super) fn source() -> String {
    let mut source = format!("chat-server run by {}", account_name());
    if let Ok(caller) = std::env::var("SUDO_USER") {
        source.push_str(&format!(" (SUDO_USER={caller})"));
    }
    source
}
