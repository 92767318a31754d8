//! Accounts, logins and devices.

mod admit;
mod change;
mod create;
mod devices;

pub(super) use admit::{Admit, Admitted, Tokens, Way, first_epoch, session_expired};
pub(super) use change::{ChangePassword, UpdateProfile};
pub(super) use create::{CreateAccount, PasswordRecord};
pub(super) use devices::{Logout, RevokeDevice};

use crate::model::{Account, UserInfo};

/// A user as everybody may see them.
pub(super) fn public(account: &Account) -> UserInfo {
    UserInfo {
        id: account.id,
        name: account.name.clone(),
        display_name: account.display_name.clone(),
        direct_policy: None,
    }
}

/// A user as they see themselves.
pub(super) fn private(account: &Account) -> UserInfo {
    UserInfo {
        direct_policy: Some(account.direct_policy),
        ..public(account)
    }
}
