//! Units of work on accounts, logins and devices.

mod admit;
mod change;
mod create;
mod devices;
mod provision;

pub(in crate::engine) use admit::{
    Admit, CommittedLogin, LoginMethod, Tokens, can_resume, first_epoch, session_expired,
};
pub(in crate::engine) use change::{ChangePassword, UpdateProfile};
pub(in crate::engine) use create::{CreateAccount, PhcString};
pub(in crate::engine) use devices::{Logout, RevokeDevice};
pub(in crate::engine) use provision::Provision;

use crate::model::{Account, UserId, UserInfo};
use crate::store::{StoreError, Transaction};

/// Name that other users see on the messages of deleted users. No account can have this name,
/// because names contain no spaces.
const DELETED_USER: &str = "deleted user";

/// Returns whether an account exists that is not deleted.
pub(in crate::engine) async fn account_exists(tx: &mut dyn Transaction, user: UserId) -> Result<bool, StoreError> {
    let account = tx.account(user).await?;
    Ok(account.is_some_and(|account| account.deleted.is_none()))
}

/// Returns the profile of a user as other users see it.
pub(in crate::engine) fn public_info(account: &Account) -> UserInfo {
    if account.deleted.is_some() {
        return UserInfo::new(account.id, DELETED_USER);
    }
    UserInfo {
        id: account.id,
        name: account.name.clone(),
        display_name: account.display_name.clone(),
        direct_policy: None,
    }
}

/// Returns the profile of a user as the user sees it, which includes the direct-message policy.
pub(in crate::engine) fn private_info(account: &Account) -> UserInfo {
    UserInfo {
        direct_policy: Some(account.direct_policy),
        ..public_info(account)
    }
}
