//! Events: the entries of a conversation's log.

use bytes::Bytes;

use super::{ClientMessageId, ConversationId, DeviceId, EventId, JoinPolicy, Member, Role, Seq, Timestamp, UserId};

/// One entry of a conversation's log, as it is stored and delivered. Its body stays encoded, as one
/// field of the oneof `body` of `chat.v1.Event`, so that a message is encoded once for all its
/// readers. [`body()`](Self::body()) decodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Conversation of the event.
    pub conversation: ConversationId,
    /// Position in the conversation.
    pub seq: Seq,
    /// Globally unique id.
    pub id: EventId,
    /// User who caused the event; [`UserId::SYSTEM`] if it was the system.
    pub sender: UserId,
    /// Device of the sender; absent if the event is not from a session, because the application, an
    /// operator or the system acted.
    pub device: Option<DeviceId>,
    /// Idempotency key of the sender. Only drafts, system messages and the creation of a group have
    /// one.
    pub client_message_id: Option<ClientMessageId>,
    /// Digest of the sent content, which distinguishes a retry from another use of the same
    /// idempotency key; 0 without a key.
    pub fingerprint: u64,
    /// Time of the append by the store's clock, or by the node's clock if the store has none; later
    /// than that of the previous event.
    pub time: Timestamp,
    /// Kind of the body.
    pub kind: EventKind,
    /// Position of the message that an edit, recall or reaction refers to; `None` for other events.
    pub target: Option<Seq>,
    /// Number of messages in the conversation up to and including this event, recalled ones
    /// included.
    pub message_count: u64,
    /// Position of the latest edit of this message; `None` if it was not edited. A page of history
    /// has only edits that its reader [may see](Self::edit_visible_to).
    pub edited_seq: Option<Seq>,
    /// Position of the recall of this message, which erased its text; `None` if it was not
    /// recalled. The logs of deleted groups and the inboxes of deleted users get no recall event: a
    /// text that is erased there has the position of the last event instead.
    pub recalled_seq: Option<Seq>,
    /// Encoded [`EventBody`]; [`Event::body`] decodes it.
    pub body: Bytes,
}

impl Event {
    /// Returns the position of the latest edit of this message that `reader` may see. Returns
    /// `None` if there is none, if the message was recalled, or if the edit was made after the
    /// reader had left.
    #[must_use]
    pub fn edit_visible_to(&self, reader: &Member) -> Option<Seq> {
        let edit = self.edited_seq.filter(|_| self.recalled_seq.is_none())?;
        reader.may_read(edit).then_some(edit)
    }

    /// Returns an event without device, idempotency key, target, edit and recall. Its message count
    /// is `seq`, as if all events of the conversation were messages.
    #[must_use]
    pub const fn new(
        conversation: ConversationId,
        seq: Seq,
        id: EventId,
        sender: UserId,
        time: Timestamp,
        kind: EventKind,
        body: Bytes,
    ) -> Self {
        Self {
            conversation,
            seq,
            id,
            sender,
            device: None,
            client_message_id: None,
            fingerprint: 0,
            time,
            kind,
            target: None,
            message_count: seq.0,
            edited_seq: None,
            recalled_seq: None,
            body,
        }
    }
}

/// Kind of an event. The numbers are stored; they are those of the body's field in `chat.v1.Event`
/// and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the `EventBody` variant of this name
pub enum EventKind {
    /// Kind of a later version of the protocol. Clients count such events as received, although
    /// they cannot decode them. Never stored.
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
    /// All kinds that are stored.
    #[doc(hidden)]
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

    /// Returns the stored kind with this number, or `None` if this version knows none.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Returns whether events of this kind change who receives the later events of a group: they
    /// change who is a member, or delete the group.
    #[doc(hidden)]
    #[must_use]
    pub const fn changes_members(self) -> bool {
        matches!(
            self,
            Self::GroupCreated | Self::MemberJoined | Self::MemberLeft | Self::MemberKicked | Self::GroupDeleted
        )
    }
}

/// Content of an event. Events “in the inbox” are in the inbox of the user whom they concern, who
/// is called “this user”.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum EventBody {
    /// Content of a later version of the protocol. Only clients receive it.
    Unknown,
    /// A text message.
    Message(Message),
    /// The sender of `target` replaced its text.
    Edit {
        target: Seq,
        /// New text; empty if the target was recalled later.
        text: String,
    },
    /// `target` was recalled; its text is erased.
    Recall { target: Seq },
    /// A reaction to `target` was added or removed.
    Reaction {
        target: Seq,
        emoji: String,
        /// True if the reaction was removed.
        removed: bool,
    },
    /// The group was created. This is its first event, and the sender is its owner.
    GroupCreated { name: String },
    /// A user became a member.
    MemberJoined {
        user: UserId,
        /// Admin or owner who admitted the user; `None` if the user joined an open group or
        /// accepted an invitation.
        by: Option<UserId>,
    },
    /// A member left, or the member's account was deleted.
    MemberLeft { user: UserId },
    /// The sender removed a member.
    MemberKicked {
        user: UserId,
        /// True if the user cannot join again until unbanned.
        banned: bool,
    },
    /// The role of a member changed.
    RoleChanged { user: UserId, role: Role },
    /// A member became the owner. If the sender is a user, that user was the owner. The user is now
    /// an admin, or has left because the account was deleted; then `MemberLeft` follows. If the
    /// sender is the system and the group had an owner, the `RoleChanged` before this event
    /// contains the former owner's role.
    OwnershipTransferred {
        /// The new owner.
        to: UserId,
    },
    /// A member was muted or unmuted.
    MemberMuted {
        user: UserId,
        /// Time until which the member may not send; 0 if unmuted.
        until: Timestamp,
    },
    /// The group changed. Contains its new state.
    GroupUpdated {
        name: String,
        description: String,
        /// Rule by which users become members.
        join_policy: JoinPolicy,
        /// True if new members may read the events from before they joined.
        history_visible: bool,
        /// True if no search by name finds the group, and only its members, invited users and users
        /// who have asked to join find it, by its id or its full name.
        unlisted: bool,
    },
    /// The group was deleted. No event follows.
    GroupDeleted,
    /// In the inbox: a user asks for friendship.
    FriendRequested {
        /// The user who asks.
        from: UserId,
        /// Text of the request.
        note: String,
    },
    /// In the inbox: a friend request of this user was answered, or this user's request accepted an
    /// open friend request of the other user.
    FriendAnswered {
        /// The other user.
        by: UserId,
        /// True if the request was accepted.
        accepted: bool,
    },
    /// In the inbox: a friend ended the friendship or blocked this user, or the friend's account
    /// was deleted.
    FriendRemoved {
        /// The former friend.
        by: UserId,
    },
    /// In the inbox: an invitation to a group.
    GroupInvited {
        group: ConversationId,
        group_name: String,
        /// The user who invites.
        by: UserId,
    },
    /// In the inboxes of a group's owner and admins: a user asks to join.
    JoinRequested {
        group: ConversationId,
        group_name: String,
        /// The user who asks.
        user: UserId,
        /// Text of the request.
        note: String,
    },
    /// In the inbox: this user's request to join a group was answered.
    JoinAnswered {
        group: ConversationId,
        group_name: String,
        /// True if the request was accepted.
        accepted: bool,
    },
    /// In the inbox: this user was removed from a group. The deletion of a group is no removal; the
    /// group's own log reports it.
    RemovedFromGroup {
        group: ConversationId,
        group_name: String,
        /// The admin or owner who removed the user.
        by: UserId,
    },
    /// In the inbox: an invitation by this user was declined.
    InvitationDeclined {
        group: ConversationId,
        group_name: String,
        /// The user who declined.
        user: UserId,
    },
    /// In the inbox: a direct conversation with this user was opened.
    ConversationOpened {
        conversation: ConversationId,
        /// The other user; in the notes to self, this user.
        peer: UserId,
    },
}

impl EventBody {
    /// Returns the kind of this body.
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

    /// Returns the position of the message that an edit, recall or reaction refers to; `None` for
    /// other events.
    #[must_use]
    pub const fn target(&self) -> Option<Seq> {
        match self {
            Self::Edit { target, .. } | Self::Recall { target } | Self::Reaction { target, .. } => Some(*target),
            _ => None,
        }
    }
}

/// A text message of a user or of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Text, byte for byte as it was accepted; empty if recalled.
    pub text: String,
    /// The message that this one answers, in the same conversation.
    pub reply_to: Option<Seq>,
    /// Members who are mentioned.
    pub mentions: Vec<UserId>,
    /// True if all members are mentioned.
    pub mention_all: bool,
}

impl Message {
    /// Returns a message without reply and mentions.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }
}
