//! Plain data that operators pass and receive.

use crate::model::{
    Account, ContactInfo, Conversation, ConversationId, ConversationKind, DeviceInfo, DirectPolicy, DisplayName, Event,
    EventBody, EventKind, GroupInfo, Member, MemberInfo, MemberState, Role, Secret, Seq, Timestamp, UserId, UserName,
};
use crate::store::ListedGroup;

/// An account to create.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateAccount {
    /// Name of the account. Operators may use reserved names: [`UserName::parse_any`].
    pub name: UserName,
    /// Name that other users see. Default: `name`.
    pub display_name: Option<DisplayName>,
    /// Password of the account. Default: none; then users log in by the application's
    /// authenticator only.
    pub password: Option<Secret>,
    /// Identifier by which the application knows the user; at most 255 bytes.
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

    /// Sets the name that other users see.
    #[must_use]
    pub fn display_name(mut self, name: DisplayName) -> Self {
        self.display_name = Some(name);
        self
    }

    /// Sets the password.
    #[must_use]
    pub fn password(mut self, password: Secret) -> Self {
        self.password = Some(password);
        self
    }

    /// Binds the account to an external subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
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
    /// Identifier by which the application knows the user.
    pub subject: Option<String>,
    /// True if the user can log in with a password.
    pub has_password: bool,
    /// True if the user may not log in.
    pub disabled: bool,
    /// Time when the account was created.
    #[cfg_attr(feature = "serde", serde(rename = "created_ms"))]
    pub created: Timestamp,
    /// Time of deletion.
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
            subject: account.subject,
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
    pub more: bool,
}

impl AccountPage {
    pub(super) const fn new(accounts: Vec<AccountInfo>, more: bool) -> Self {
        Self { accounts, more }
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
    /// Number of messages in the log.
    pub messages: u64,
    /// Time of the last event.
    #[cfg_attr(feature = "serde", serde(rename = "last_time_ms"))]
    pub last_time: Timestamp,
    /// True if the group is deleted, so that nothing can be appended.
    pub closed: bool,
    /// True if the group is open and has no owner.
    pub orphaned: bool,
}

impl GroupListing {
    /// Returns the listing of a group, or `None` if the row is not one of a group.
    pub(super) fn of(listed: ListedGroup) -> Option<Self> {
        let ListedGroup {
            conversation: row,
            has_owner,
        } = listed;
        Some(Self {
            group: GroupInfo {
                id: row.id,
                profile: row.group?,
                member_count: row.member_count,
            },
            messages: row.message_count,
            last_time: row.last_time,
            closed: row.closed,
            orphaned: !row.closed && !has_owner,
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
    /// Id after which the next page begins; absent on the last page.
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
    /// Users in the group, invited, asking to join and banned ones included, ordered by user id.
    #[cfg_attr(feature = "serde", serde(rename = "users"))]
    pub members: Vec<MemberInfo>,
}

impl GroupDetails {
    pub(super) const fn new(group: GroupListing, members: Vec<MemberInfo>) -> Self {
        Self { group, members }
    }
}

/// One record of an exported account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "record", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum ExportRecord {
    /// The account itself. The first record.
    Profile(AccountInfo),
    /// A device of the user.
    Device(DeviceInfo),
    /// A contact of the user.
    Contact(ContactInfo),
    /// A conversation in which the user is or was.
    Membership(Membership),
    /// A message, edit or reaction of the user.
    Event(ExportedEvent),
}

/// Membership of the user of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Membership {
    /// Conversation of the membership.
    pub conversation: ConversationId,
    /// Name of the group, if it is one.
    pub group: Option<String>,
    /// The other user of a direct conversation.
    pub peer: Option<UserId>,
    /// State of the user in the conversation.
    pub state: MemberState,
    /// Role of the user.
    pub role: Role,
    /// First event that the user may read; 0 if the user was never a member.
    pub first_seq: Seq,
    /// Last event that the user has read.
    pub read_seq: Seq,
}

impl Membership {
    pub(super) fn of(row: &Conversation, member: &Member) -> Self {
        let peer = match row.kind {
            ConversationKind::Direct { low, high } if low == member.user => Some(high),
            ConversationKind::Direct { low, .. } => Some(low),
            _ => None,
        };
        Self {
            conversation: row.id,
            group: row.group.as_ref().map(|profile| profile.name.clone()),
            peer,
            state: member.state,
            role: member.role,
            first_seq: member.first_seq,
            read_seq: member.read_seq,
        }
    }
}

/// A message, edit or reaction of the user of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ExportedEvent {
    /// Conversation of the event.
    pub conversation: ConversationId,
    /// Position in the conversation.
    pub seq: Seq,
    /// Time of the commit.
    #[cfg_attr(feature = "serde", serde(rename = "time_ms"))]
    pub time: Timestamp,
    /// `message`, `edit` or `reaction`.
    pub kind: &'static str,
    /// Message that an edit or a reaction refers to, or that a message answers.
    pub target: Option<Seq>,
    /// Text of the message or edit, emoji of the reaction; empty if it was recalled.
    pub text: String,
}

impl ExportedEvent {
    /// Returns the text that the user wrote, or `None` if the event has no text of the user.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (kind, target, text) = match (event.kind, event.body().ok()?) {
            (EventKind::Message, EventBody::Message(message)) => ("message", message.reply_to, message.text),
            (EventKind::Edit, EventBody::Edit { target, text }) => ("edit", Some(target), text),
            (
                EventKind::Reaction,
                EventBody::Reaction {
                    target,
                    emoji,
                    removed: false,
                },
            ) => ("reaction", Some(target), emoji),
            _ => return None,
        };
        Some(Self {
            conversation: event.conversation,
            seq: event.seq,
            time: event.time,
            kind,
            target,
            text,
        })
    }
}
