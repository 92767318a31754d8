//! Arguments and results of the actions of operators.

use crate::model::{
    Account, ConversationId, DeviceInfo, DirectPolicy, DisplayName, GroupInfo, MemberInfo, Secret, Timestamp, UserId,
    UserName,
};
use crate::store::ListedGroup;

/// An account to create.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateAccount {
    /// Name of the account. Operators may use reserved names; see [`UserName::parse_any`].
    pub name: UserName,
    /// Name that other users see. Default: `name`.
    pub display_name: Option<DisplayName>,
    /// Password of the account. Default: none; then, until the account gets a password, the user
    /// can only log in through the application's authenticator.
    pub password: Option<Secret>,
    /// Identifier by which the application knows the user; see [`Subject`](crate::auth::Subject).
    /// Default: none.
    pub subject: Option<String>,
}

impl CreateAccount {
    /// Returns an account without password, subject and display name.
    #[must_use]
    pub const fn new(name: UserName) -> Self {
        Self {
            name,
            display_name: None,
            password: None,
            subject: None,
        }
    }
}

/// An account as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AccountInfo {
    /// Id of the user.
    pub id: UserId,
    /// Unique name of the user.
    pub name: String,
    /// Name that is shown beside the unique name.
    pub display_name: String,
    /// Users who may send direct messages to the user.
    pub direct_policy: DirectPolicy,
    /// Identifier by which the application knows the user. Deleted accounts have none.
    pub subject: Option<String>,
    /// True if the account is deleted and its subject cannot get another account.
    pub subject_reserved: bool,
    /// True if the account has a password. A login with it may be refused nevertheless, because the
    /// account is disabled or the application's authenticator accepts no passwords.
    pub has_password: bool,
    /// True if the user may not log in.
    pub disabled: bool,
    /// Time when the account was created.
    #[cfg_attr(feature = "serde", serde(rename = "created_ms"))]
    pub created: Timestamp,
    /// Time of deletion; `None` if the account is not deleted.
    #[cfg_attr(feature = "serde", serde(rename = "deleted_ms"))]
    pub deleted: Option<Timestamp>,
}

impl From<Account> for AccountInfo {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            display_name: account.display_name,
            direct_policy: account.direct_policy,
            // The field `subject` of a deleted account contains a digest of the subject (the
            // tombstone) if the subject is reserved, and nothing otherwise.
            subject_reserved: account.deleted.is_some() && account.subject.is_some(),
            subject: account.subject.filter(|_| account.deleted.is_none()),
            has_password: account.password_hash.is_some(),
            disabled: account.disabled,
            created: account.created,
            deleted: account.deleted,
        }
    }
}

/// An account with its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AccountDetails {
    /// State of the account.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub account: AccountInfo,
    /// Devices of the user, oldest first.
    pub devices: Vec<DeviceInfo>,
}

impl AccountDetails {
    pub(super) const fn new(account: AccountInfo, devices: Vec<DeviceInfo>) -> Self {
        Self { account, devices }
    }
}

/// A page of accounts, ordered by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AccountPage {
    /// Accounts of the page.
    pub accounts: Vec<AccountInfo>,
    /// True if more accounts follow the last one.
    pub has_more: bool,
}

impl AccountPage {
    pub(super) const fn new(accounts: Vec<AccountInfo>, has_more: bool) -> Self {
        Self { accounts, has_more }
    }
}

/// A group as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupListing {
    /// The group as its members see it.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub group: GroupInfo,
    /// Number of messages in the log, recalled ones included.
    pub messages: u64,
    /// Time of the last event.
    #[cfg_attr(feature = "serde", serde(rename = "last_time_ms"))]
    pub last_time: Timestamp,
    /// True if the group is deleted, so that nothing can be appended.
    pub deleted: bool,
    /// True if the group is not deleted and has no owner whose account is enabled.
    pub orphaned: bool,
}

impl GroupListing {
    /// Returns the listing of a group, or `None` if the conversation is not a group.
    pub(super) fn of(listed: ListedGroup) -> Option<Self> {
        let ListedGroup {
            conversation: row,
            has_enabled_owner,
        } = listed;
        Some(Self {
            group: GroupInfo {
                id: row.id,
                profile: row.group?,
                member_count: row.member_count,
            },
            messages: row.message_count,
            last_time: row.last_time,
            deleted: row.deleted,
            orphaned: !row.deleted && !has_enabled_owner,
        })
    }
}

/// A page of groups, ordered by id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupListPage {
    /// Groups of the page. A page of orphaned groups may be empty although more follow.
    pub groups: Vec<GroupListing>,
    /// Id after which the next page starts; absent on the last page.
    pub next: Option<ConversationId>,
}

impl GroupListPage {
    pub(super) const fn new(groups: Vec<GroupListing>, next: Option<ConversationId>) -> Self {
        Self { groups, next }
    }
}

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupDetails {
    /// State of the group.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub group: GroupListing,
    /// Members, and users who are invited, asking to join or banned, ordered by user id.
    #[cfg_attr(feature = "serde", serde(rename = "users"))]
    pub members: Vec<MemberInfo>,
}

impl GroupDetails {
    pub(super) const fn new(group: GroupListing, members: Vec<MemberInfo>) -> Self {
        Self { group, members }
    }
}
