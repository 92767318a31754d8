//! Units of work on accounts, logins and devices.

mod admit;
mod change;
mod create;
mod devices;

pub(in crate::engine) use admit::{Admit, LoggedIn, LoginMethod, Tokens, first_epoch, session_expired};
pub(in crate::engine) use change::{ChangePassword, UpdateProfile};
pub(in crate::engine) use create::{CreateAccount, PasswordRecord};
pub(in crate::engine) use devices::{Logout, RevokeDevice};

use crate::model::{Account, UserInfo};

/// Returns what everyone may see of a user.
pub(in crate::engine) fn public(account: &Account) -> UserInfo {
    UserInfo {
        id: account.id,
        name: account.name.clone(),
        display_name: account.display_name.clone(),
        direct_policy: None,
    }
}

/// Returns what a user sees of themselves.
pub(in crate::engine) fn private(account: &Account) -> UserInfo {
    UserInfo {
        direct_policy: Some(account.direct_policy),
        ..public(account)
    }
}
