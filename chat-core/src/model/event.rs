//! Entries of a conversation's log.

use bytes::Bytes;

use super::{ClientMessageId, ConversationId, DeviceId, EventId, JoinPolicy, Role, Seq, Timestamp, UserId};

/// One entry of a conversation's log, as it is stored and delivered. Its body stays encoded (the `body` fields of
/// `chat.v1.Event`), so that a message is encoded once however many read it; `codec::body` decodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub conversation: ConversationId,
    /// Its place.
    pub seq: Seq,
    /// Its global name.
    pub id: EventId,
    /// Who did it.
    pub sender: UserId,
    /// On which device; absent for what the server or an operator does in a user's name.
    pub device: Option<DeviceId>,
    /// The sender's idempotency key.
    pub client_message_id: Option<ClientMessageId>,
    /// Digest of what the sender sent, to tell a retry from another use of the same key.
    pub fingerprint: u64,
    /// When it was committed, by the committing node's clock, later than its predecessor's.
    pub time: Timestamp,
    /// What kind of body it has.
    pub kind: EventKind,
    /// The event that an edit, recall or reaction is about.
    pub target: Option<Seq>,
    /// How many messages the conversation holds up to and including this event.
    pub message_count: u64,
    /// The latest edit of this message.
    pub edited_seq: Option<Seq>,
    /// The recall of this message; the body is erased.
    pub recalled_seq: Option<Seq>,
    /// Encoded [`EventBody`].
    pub body: Bytes,
}

/// The kind of an event, as stored. Numbers are those of the body's field in `chat.v1.Event`; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the EventBody variant of its name
pub enum EventKind {
    /// Of a later version of the protocol: a client keeps its place and shows nothing. Never stored.
    Unknown = 0,
    Message = 16,
    Edit = 17,
    Recall = 18,
    Reaction = 19,
    GroupCreated = 30,
    MemberJoined = 31,
    MemberLeft = 32,
    MemberKicked = 33,
    RoleChanged = 34,
    OwnershipTransferred = 35,
    MemberMuted = 36,
    GroupUpdated = 37,
    GroupDeleted = 38,
    FriendRequested = 50,
    FriendAnswered = 51,
    FriendRemoved = 52,
    GroupInvited = 53,
    JoinRequested = 54,
    JoinAnswered = 55,
    RemovedFromGroup = 56,
    InvitationDeclined = 57,
    ConversationOpened = 58,
}

impl EventKind {
    /// Every kind that is stored.
    pub const ALL: [Self; 22] = [
        Self::Message,
        Self::Edit,
        Self::Recall,
        Self::Reaction,
        Self::GroupCreated,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::MemberKicked,
        Self::RoleChanged,
        Self::OwnershipTransferred,
        Self::MemberMuted,
        Self::GroupUpdated,
        Self::GroupDeleted,
        Self::FriendRequested,
        Self::FriendAnswered,
        Self::FriendRemoved,
        Self::GroupInvited,
        Self::JoinRequested,
        Self::JoinAnswered,
        Self::RemovedFromGroup,
        Self::InvitationDeclined,
        Self::ConversationOpened,
    ];

    /// The kind of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether this changes who is a member.
    #[must_use]
    pub const fn changes_members(self) -> bool {
        matches!(
            self,
            Self::GroupCreated | Self::MemberJoined | Self::MemberLeft | Self::MemberKicked | Self::GroupDeleted
        )
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventBody {
    /// What only a later version of the protocol knows; met by clients alone.
    Unknown,
    /// Somebody wrote.
    Message(Message),
    /// The sender of `target` changed its text.
    Edit {
        /// The message.
        target: Seq,
        /// Its new text; empty once the target was recalled.
        text: String,
    },
    /// `target` was taken back; its text is erased.
    Recall {
        /// The message.
        target: Seq,
    },
    /// A reaction to `target` was added or removed.
    Reaction {
        /// The message.
        target: Seq,
        /// One emoji.
        emoji: String,
        /// Taken back.
        removed: bool,
    },
    /// The first event of a group; its sender is the owner.
    GroupCreated {
        /// The group's name.
        name: String,
    },
    /// A user became a member.
    MemberJoined {
        /// Who.
        user: UserId,
        /// Who let them in, if somebody had to.
        by: Option<UserId>,
    },
    /// A member left.
    MemberLeft {
        /// Who.
        user: UserId,
    },
    /// A member was removed by the sender.
    MemberKicked {
        /// Who.
        user: UserId,
        /// And may not come back.
        banned: bool,
    },
    /// A member got another role.
    RoleChanged {
        /// Who.
        user: UserId,
        /// Which.
        role: Role,
    },
    /// The owner made another member the owner, and became an admin.
    OwnershipTransferred {
        /// To whom.
        to: UserId,
    },
    /// A member may not send until then.
    MemberMuted {
        /// Who.
        user: UserId,
        /// 0: they may send again.
        until: Timestamp,
    },
    /// What the group is from here on.
    GroupUpdated {
        /// Its name.
        name: String,
        /// Its description.
        description: String,
        /// How strangers join.
        join_policy: JoinPolicy,
        /// Newcomers may read all.
        history_visible: bool,
        /// Not found by searching.
        unlisted: bool,
    },
    /// The last event of a group.
    GroupDeleted,
    /// In the inbox: somebody wants to be a friend.
    FriendRequested {
        /// Who.
        from: UserId,
        /// Their words.
        note: String,
    },
    /// In the inbox: a request of this user's was answered.
    FriendAnswered {
        /// By whom.
        by: UserId,
        /// How.
        accepted: bool,
    },
    /// In the inbox: a friend ended the friendship.
    FriendRemoved {
        /// Who.
        by: UserId,
    },
    /// In the inbox: an invitation to a group.
    GroupInvited {
        /// Which.
        group: ConversationId,
        /// Its name.
        group_name: String,
        /// Who invites.
        by: UserId,
    },
    /// In the inbox of a group's admins: somebody wants to join.
    JoinRequested {
        /// Which group.
        group: ConversationId,
        /// Its name.
        group_name: String,
        /// Who.
        user: UserId,
        /// Their words.
        note: String,
    },
    /// In the inbox: the request to join was answered.
    JoinAnswered {
        /// Which group.
        group: ConversationId,
        /// Its name.
        group_name: String,
        /// How.
        accepted: bool,
    },
    /// In the inbox: this user was removed from a group. Of a deletion its own log tells.
    RemovedFromGroup {
        /// Which.
        group: ConversationId,
        /// Its name.
        group_name: String,
        /// By whom.
        by: UserId,
    },
    /// In the inbox: an invitation of this user's was declined.
    InvitationDeclined {
        /// To which group.
        group: ConversationId,
        /// Its name.
        group_name: String,
        /// Who declined.
        user: UserId,
    },
    /// In the inbox: this user is now in a direct conversation.
    ConversationOpened {
        /// Which.
        conversation: ConversationId,
        /// With whom.
        peer: UserId,
    },
}

impl EventBody {
    /// The kind of this body.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Unknown => EventKind::Unknown,
            Self::Message(_) => EventKind::Message,
            Self::Edit { .. } => EventKind::Edit,
            Self::Recall { .. } => EventKind::Recall,
            Self::Reaction { .. } => EventKind::Reaction,
            Self::GroupCreated { .. } => EventKind::GroupCreated,
            Self::MemberJoined { .. } => EventKind::MemberJoined,
            Self::MemberLeft { .. } => EventKind::MemberLeft,
            Self::MemberKicked { .. } => EventKind::MemberKicked,
            Self::RoleChanged { .. } => EventKind::RoleChanged,
            Self::OwnershipTransferred { .. } => EventKind::OwnershipTransferred,
            Self::MemberMuted { .. } => EventKind::MemberMuted,
            Self::GroupUpdated { .. } => EventKind::GroupUpdated,
            Self::GroupDeleted => EventKind::GroupDeleted,
            Self::FriendRequested { .. } => EventKind::FriendRequested,
            Self::FriendAnswered { .. } => EventKind::FriendAnswered,
            Self::FriendRemoved { .. } => EventKind::FriendRemoved,
            Self::GroupInvited { .. } => EventKind::GroupInvited,
            Self::JoinRequested { .. } => EventKind::JoinRequested,
            Self::JoinAnswered { .. } => EventKind::JoinAnswered,
            Self::RemovedFromGroup { .. } => EventKind::RemovedFromGroup,
            Self::InvitationDeclined { .. } => EventKind::InvitationDeclined,
            Self::ConversationOpened { .. } => EventKind::ConversationOpened,
        }
    }

    /// The event that this one is about, for edits, recalls and reactions.
    #[must_use]
    pub const fn target(&self) -> Option<Seq> {
        match self {
            Self::Edit { target, .. } | Self::Recall { target } | Self::Reaction { target, .. } => Some(*target),
            _ => None,
        }
    }
}

/// What somebody wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Byte for byte as sent; empty once recalled.
    pub text: String,
    /// The message that this one answers, in the same conversation.
    pub reply_to: Option<Seq>,
    /// Members who are called on.
    pub mentions: Vec<UserId>,
    /// Everybody is called on.
    pub mention_all: bool,
}
