//! What a command leads to, and what is pushed without being asked for.

use super::{
    CloseCode, ContactState, ConversationId, DeviceId, Event, EventId, GroupProfile, MemberState, PresenceState, Role,
    Seq, SessionTokens, Timestamp, UserId, UserInfo,
};

/// The answer to a command that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// The user's devices.
    Devices(Vec<DeviceInfo>),
    /// One user.
    User(UserInfo),
    /// Users.
    Users(Vec<UserInfo>),
    /// The user's relations.
    Contacts(Vec<ContactInfo>),
    /// Everything the user is in.
    Conversations(Vec<ConversationInfo>),
    /// One conversation.
    Conversation(Box<ConversationInfo>),
    /// Groups found.
    Groups(Vec<GroupInfo>),
    /// Members of a group.
    Members(MemberPage),
    /// A draft became an event.
    Appended(Appended),
    /// The password is another one, and so are this device's tokens: the former are void.
    PasswordChanged(SessionTokens),
    /// A page of history.
    History(HistoryPage),
}

/// Where a draft ended up. It is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// In which conversation.
    pub conversation: ConversationId,
    /// At which place.
    pub seq: Seq,
    /// Under which name.
    pub event_id: EventId,
    /// When.
    pub time: Timestamp,
    /// It had been stored before; this is where.
    pub duplicate: bool,
}

/// An event as a reader sees it: with its latest edit beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEvent {
    /// The event.
    pub event: Event,
    /// Text of its latest edit.
    pub edited_text: Option<String>,
}

/// A page of a conversation's log, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// The events.
    pub events: Vec<HistoryEvent>,
    /// More follow in the direction asked.
    pub more: bool,
    /// Lowest Seq that this user may read.
    pub first_seq: Seq,
    /// Highest Seq that this user may read.
    pub last_seq: Seq,
}

/// A device in the user's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Which.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
    /// First login.
    pub created: Timestamp,
    /// Latest login or resume.
    pub last_login: Timestamp,
    /// Has a live session.
    pub online: bool,
    /// The one that asks.
    pub current: bool,
}

/// A relation in the user's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactInfo {
    /// With whom.
    pub user: UserInfo,
    /// What they are.
    pub state: ContactState,
    /// Blocked by the one who asks.
    pub blocked: bool,
    /// Of the request.
    pub note: String,
    /// Since when.
    pub since: Timestamp,
    /// Of friends.
    pub presence: Option<PresenceState>,
}

/// A group as a member, or a searcher, sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub profile: GroupProfile,
    /// How many are in it.
    pub member_count: u32,
}

/// What a conversation is, as one of its users sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationView {
    /// With this user; oneself for notes.
    Direct(UserInfo),
    /// A group.
    Group(GroupInfo),
    /// The user's own inbox.
    Inbox,
}

/// A conversation as one user, on one device, sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationInfo {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub view: ConversationView,
    /// The user's role.
    pub role: Role,
    /// Lowest Seq that the user may read.
    pub first_seq: Seq,
    /// Highest Seq that the user may read.
    pub last_seq: Seq,
    /// Highest Seq that the device has acknowledged; at least one before `first_seq`.
    pub cursor: Seq,
    /// Highest Seq that the user has read.
    pub read_seq: Seq,
    /// Messages after `read_seq` (see `ConversationStore::head`).
    pub unread: u32,
    /// Of those, the ones that mention the user.
    pub mentions: u32,
    /// Direct: how far the other user has got.
    pub peer_delivered_seq: Seq,
    /// Direct: how far the other user has read.
    pub peer_read_seq: Seq,
    /// Time of the last event.
    pub last_time: Timestamp,
    /// Place of the last membership change the row knew.
    pub members_version: Seq,
    /// False for an ex-member.
    pub active: bool,
}

/// A member as the others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Who.
    pub user: UserInfo,
    /// Role.
    pub role: Role,
    /// State.
    pub state: MemberState,
    /// Muted until; 0: not muted.
    pub muted_until: Timestamp,
    /// How far their devices have got.
    pub delivered_seq: Seq,
    /// How far they have read.
    pub read_seq: Seq,
}

/// Page of a group's members, in order of user id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberPage {
    /// Members, in order of user id.
    pub members: Vec<MemberInfo>,
    /// Whether more members follow.
    pub more: bool,
}

impl MemberPage {
    /// Returns a page of these members.
    #[must_use]
    pub const fn new(members: Vec<MemberInfo>, more: bool) -> Self {
        Self { members, more }
    }
}

/// What a session is told without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Push {
    /// Something was appended to a conversation of the user's.
    Event(Event),
    /// Another member has got or read so far.
    Receipt {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Got up to.
        delivered_seq: Seq,
        /// Read up to.
        read_seq: Seq,
    },
    /// The user's own read marker moved.
    Read {
        /// Where.
        conversation: ConversationId,
        /// To where.
        read_seq: Seq,
        /// Messages left to read.
        unread: u32,
        /// Of those, mentions.
        mentions: u32,
    },
    /// Another member writes, or stopped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Stopped.
        stopped: bool,
    },
    /// A friend came or went.
    Presence {
        /// Who.
        user: UserId,
        /// What they are now.
        state: PresenceState,
    },
    /// Pushes of this conversation were dropped; it stands at `last_seq`.
    Behind {
        /// Which.
        conversation: ConversationId,
        /// Its last event.
        last_seq: Seq,
    },
    /// The node drains.
    GoAway {
        /// Come back after so long.
        retry_after_ms: u32,
    },
    /// The session is over.
    Closed(CloseCode),
}
