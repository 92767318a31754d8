//! Outcomes of commands, and pushes.

use super::{
    CloseCode, ContactState, ConversationId, DeviceId, Event, EventId, GroupProfile, MemberState, PresenceState, Role,
    Seq, SessionTokens, Timestamp, UserId, UserInfo,
};

/// Outcome of a command that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The command has no result.
    Done,
    /// Devices of the user.
    Devices(Vec<DeviceInfo>),
    /// Profile of a user.
    User(UserInfo),
    /// Profiles of users.
    Users(Vec<UserInfo>),
    /// Contacts of the user.
    Contacts(ContactPage),
    /// Page of the list of the user's conversations.
    Conversations(ConversationPage),
    /// State of a conversation.
    Conversation(Box<ConversationInfo>),
    /// Profiles of groups.
    Groups(Vec<GroupInfo>),
    /// Members of a group.
    Members(MemberPage),
    /// Position of an event that was stored.
    Appended(Appended),
    /// New tokens after a change of the password.
    PasswordChanged(SessionTokens),
    /// Page of a conversation's log.
    History(HistoryPage),
}

/// Position, id and time of a stored event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Appended {
    /// Conversation of the event.
    pub conversation: ConversationId,
    /// Position in the conversation.
    pub seq: Seq,
    /// Globally unique id of the event.
    #[cfg_attr(feature = "serde", serde(rename = "id"))]
    pub event_id: EventId,
    /// [Time](Event::time) of the event.
    #[cfg_attr(feature = "serde", serde(rename = "time_ms"))]
    pub time: Timestamp,
    /// True if an earlier request with the same idempotency key had stored the event.
    pub duplicate: bool,
}

impl Appended {
    /// Returns the position of an event that was stored just now.
    #[must_use]
    pub const fn new(conversation: ConversationId, seq: Seq, event_id: EventId, time: Timestamp) -> Self {
        Self {
            conversation,
            seq,
            event_id,
            time,
            duplicate: false,
        }
    }
}

/// An event as a reader sees it, with its latest edit if it was read from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEvent {
    /// The event itself.
    pub event: Event,
    /// Text of the latest edit; `None` if the event was not edited, was recalled or was pushed when
    /// it was appended, or if the reader may not read that edit.
    pub edited_text: Option<String>,
}

impl HistoryEvent {
    /// Returns an event that was not edited.
    #[must_use]
    pub const fn new(event: Event) -> Self {
        Self {
            event,
            edited_text: None,
        }
    }
}

impl From<Event> for HistoryEvent {
    fn from(event: Event) -> Self {
        Self::new(event)
    }
}

/// Page of a conversation's log, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// Conversation that was read.
    pub conversation: ConversationId,
    /// Events of the page.
    pub events: Vec<HistoryEvent>,
    /// True if more events follow in the requested direction.
    pub has_more: bool,
    /// First event that the user may read.
    pub first_seq: Seq,
    /// Last event that the user may read.
    pub last_seq: Seq,
}

impl HistoryPage {
    /// Returns the last page of a log that the user may read from the first event on.
    #[must_use]
    pub fn new(conversation: ConversationId, events: Vec<HistoryEvent>) -> Self {
        Self {
            conversation,
            first_seq: Seq(1),
            last_seq: events.last().map_or(Seq::ZERO, |last| last.event.seq),
            events,
            has_more: false,
        }
    }
}

/// A device in the user's list of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Id of the device.
    #[cfg_attr(feature = "serde", serde(rename = "device"))]
    pub id: DeviceId,
    /// Name of the device.
    pub name: String,
    /// Time of the first login.
    #[cfg_attr(feature = "serde", serde(rename = "created_ms"))]
    pub created: Timestamp,
    /// Time of the latest login or resume.
    #[cfg_attr(feature = "serde", serde(rename = "last_login_ms"))]
    pub last_login: Timestamp,
    /// True if the device has a session, as far as the node knows.
    pub online: bool,
    /// True if the request came from this device.
    pub current: bool,
}

impl DeviceInfo {
    /// Returns a device that is offline and is not the device of the request.
    #[must_use]
    pub fn new(id: DeviceId, name: impl Into<String>) -> Self {
        Self {
            id,
            name: name.into(),
            created: Timestamp(0),
            last_login: Timestamp(0),
            online: false,
            current: false,
        }
    }
}

/// A user in the list of contacts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ContactInfo {
    /// The other user.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub user: UserInfo,
    /// State of the contact.
    pub state: ContactState,
    /// True if the user blocked the other user.
    pub blocked: bool,
    /// Text of the open friend request; empty if there is none.
    pub note: String,
    /// Time at which the state changed last or, if it never did, the other user was blocked.
    #[cfg_attr(feature = "serde", serde(rename = "since_ms"))]
    pub since: Timestamp,
    /// Presence of the other user; `None` unless the users are friends.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub presence: Option<PresenceState>,
}

impl ContactInfo {
    /// Returns a contact without note, block and presence.
    #[must_use]
    pub const fn new(user: UserInfo, state: ContactState) -> Self {
        Self {
            user,
            state,
            blocked: false,
            note: String::new(),
            since: Timestamp(0),
            presence: None,
        }
    }
}

/// Page of a user's contacts, in order of user id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ContactPage {
    /// Contacts, in order of user id.
    pub contacts: Vec<ContactInfo>,
    /// True if more contacts follow.
    pub has_more: bool,
}

impl ContactPage {
    /// Maximum number of contacts in a page.
    pub const MAX_LIMIT: u32 = 500;

    /// Returns a page of these contacts.
    #[must_use]
    pub const fn new(contacts: Vec<ContactInfo>, has_more: bool) -> Self {
        Self { contacts, has_more }
    }
}

/// A group as users see it. A former member sees it as it was when that member left (or if the
/// store did not record that, only its id), but a search shows a listed group as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupInfo {
    /// Id of the group.
    pub id: ConversationId,
    /// Name, description and policies.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub profile: GroupProfile,
    /// Number of members.
    #[cfg_attr(feature = "serde", serde(rename = "members"))]
    pub member_count: u32,
}

impl GroupInfo {
    /// Returns a group with one member.
    #[must_use]
    pub const fn new(id: ConversationId, profile: GroupProfile) -> Self {
        Self {
            id,
            profile,
            member_count: 1,
        }
    }
}

/// Page of the list of a user's conversations. Groups have descriptions only if the
/// [query](super::ConversationQuery) asked for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationPage {
    /// Conversations of the page, the one with the newest event first.
    pub conversations: Vec<ConversationInfo>,
    /// The [`after`](super::ConversationQuery::after) of the next page, which may be empty; `None`
    /// if this is the last page.
    pub next: Option<ConversationId>,
}

impl ConversationPage {
    /// Returns the last page of a list.
    #[must_use]
    pub const fn new(conversations: Vec<ConversationInfo>) -> Self {
        Self {
            conversations,
            next: None,
        }
    }
}

/// Kind of a conversation, as one of its users sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum ConversationView {
    /// Direct conversation with this user; notes to self if this is the user's own account.
    Direct(UserInfo),
    /// Group with members.
    Group(GroupInfo),
    /// The user's own inbox.
    Inbox,
}

/// A conversation as one user sees it on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConversationInfo {
    /// Id of the conversation.
    pub id: ConversationId,
    /// Kind of the conversation, as the user sees it.
    #[cfg_attr(feature = "serde", serde(rename = "conversation"))]
    pub view: ConversationView,
    /// Role of the user; [`Role::Member`] if the conversation is not a group.
    pub role: Role,
    /// First event that the user may read.
    pub first_seq: Seq,
    /// Last event that the user may read.
    pub last_seq: Seq,
    /// Last event that the device has acknowledged; at least the position before `first_seq`.
    pub cursor: Seq,
    /// Last event that the user has read.
    pub read_seq: Seq,
    /// Number of messages after `read_seq` that were not recalled.
    pub unread: u32,
    /// Number of unread messages that mention the user or all members.
    pub unread_mentions: u32,
    /// Last event that a device of the other user has acknowledged; 0 unless this is a direct
    /// conversation with another user whose receipts the user may see.
    pub peer_delivered_seq: Seq,
    /// Last event that the other user has read; 0 in the same cases as `peer_delivered_seq`.
    pub peer_read_seq: Seq,
    /// Time of the last event that the user may read; 0 if it is not known.
    #[cfg_attr(feature = "serde", serde(rename = "last_time_ms"))]
    pub last_time: Timestamp,
    /// Last event that changed who is a member of the group, or deleted the group. Not transmitted:
    /// [`Seq::ZERO`] on a client.
    pub members_version: Seq,
    /// True if the user is a member and the conversation is not deleted.
    pub active: bool,
}

impl ConversationInfo {
    /// Returns an empty conversation that the user is a member of.
    #[must_use]
    pub fn new(id: ConversationId, view: ConversationView) -> Self {
        Self {
            id,
            view,
            role: Role::Member,
            first_seq: Seq(1),
            last_seq: Seq::ZERO,
            cursor: Seq::ZERO,
            read_seq: Seq::ZERO,
            unread: 0,
            unread_mentions: 0,
            peer_delivered_seq: Seq::ZERO,
            peer_read_seq: Seq::ZERO,
            last_time: Timestamp(0),
            members_version: Seq::ZERO,
            active: true,
        }
    }

    /// Returns the name of the group or of the other user (in the notes to self, of the user);
    /// `None` for the inbox.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        match &self.view {
            ConversationView::Direct(user) => Some(&user.name),
            ConversationView::Group(group) => Some(&group.profile.name),
            ConversationView::Inbox => None,
        }
    }
}

/// User in a list of members, as the requesting member sees the user. Only admins and the owner see
/// users who are invited, have asked to join or are banned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemberInfo {
    /// The user.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub user: UserInfo,
    /// Role of the member.
    pub role: Role,
    /// State of the user in the group.
    pub state: MemberState,
    /// Time until which the member may not send; 0 if the member is not muted.
    #[cfg_attr(feature = "serde", serde(rename = "muted_until_ms"))]
    pub muted_until: Timestamp,
    /// Last event that a device of the member has acknowledged. Unless the user is the requesting
    /// member, it is 0 in a group that is deleted or too large for receipts, and for a user who is
    /// not an active member.
    pub delivered_seq: Seq,
    /// Last event that the member has read; 0 in the same cases as `delivered_seq`.
    pub read_seq: Seq,
}

impl MemberInfo {
    /// Returns a member who is not muted and has received nothing yet.
    #[must_use]
    pub const fn new(user: UserInfo, role: Role, state: MemberState) -> Self {
        Self {
            user,
            role,
            state,
            muted_until: Timestamp(0),
            delivered_seq: Seq::ZERO,
            read_seq: Seq::ZERO,
        }
    }
}

/// Page of a group's members, in order of user id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MemberPage {
    /// Members, in order of user id.
    pub members: Vec<MemberInfo>,
    /// True if more members follow.
    pub has_more: bool,
}

impl MemberPage {
    /// Returns a page of these members.
    #[must_use]
    pub const fn new(members: Vec<MemberInfo>, has_more: bool) -> Self {
        Self { members, has_more }
    }
}

/// Packet that the server sends to a session, and that is not a reply to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum Push {
    /// An event was appended to a conversation of the user.
    Event(Event),
    /// A member has acknowledged further events, or marked them as read. The devices of that member
    /// do not receive this.
    Receipt {
        conversation: ConversationId,
        user: UserId,
        /// Last event that a device of the member has acknowledged.
        delivered_seq: Seq,
        /// Last event that the member has read.
        read_seq: Seq,
    },
    /// The user marked events as read on another device, or an application or operator did so in
    /// the user's name.
    Read {
        conversation: ConversationId,
        /// Last event that the user has read.
        read_seq: Seq,
        /// Number of unread messages.
        unread: u32,
        /// Number of unread messages that mention the user or all members.
        unread_mentions: u32,
    },
    /// A member is typing, or stopped. In a group, the member's other devices receive this too.
    Typing {
        conversation: ConversationId,
        user: UserId,
        /// True if the member stopped typing.
        stopped: bool,
    },
    /// A friend's presence changed, or the friendship has just begun.
    Presence {
        user: UserId,
        /// The friend's current state.
        state: PresenceState,
    },
    /// Events of this conversation were not pushed to the session. The client has to read the log
    /// up to `last_seq`.
    Behind {
        conversation: ConversationId,
        /// Last event that the client has to read.
        last_seq: Seq,
    },
    /// The node is shutting down, or the connection has reached its maximum age
    /// (`max_connection_age`). The client should finish its requests, and connect again to any
    /// node.
    GoAway {
        /// Minimum delay before reconnecting, in milliseconds.
        retry_after_ms: u32,
    },
    /// The session ended.
    Closed(CloseCode),
}
