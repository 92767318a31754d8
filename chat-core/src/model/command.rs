//! What a session may ask for. Commands are valid by construction: sizes and forms were checked when they were made
//! (`codec`, or the constructors of their parts); rights are checked by the engine.

use super::{
    ClientMessageId, ConversationId, Description, DeviceId, DirectPolicy, DisplayName, Emoji, GroupName, JoinPolicy,
    MessageText, Note, Page, PresenceState, Role, Secret, Seq, UserId, UserName,
};

/// A user, by id or by canonical name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserRef {
    /// By id.
    Id(UserId),
    /// By name.
    Name(UserName),
}

/// A conversation, by id or by what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConversationRef {
    /// By id.
    Id(ConversationId),
    /// The direct one with this user.
    Direct(UserRef),
    /// A group by name.
    Group(GroupName),
}

/// A guest's wish for an account.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Wanted name.
    pub name: UserName,
    /// Password.
    pub password: Secret,
    /// What people see; absent: the name.
    pub display_name: Option<DisplayName>,
}

/// What a valid session may ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Ends the session, voids its token.
    Logout,
    /// Changes the password and ends the user's other sessions.
    ChangePassword {
        /// The present one.
        old: Secret,
        /// The next one.
        new: Secret,
    },
    /// The user's devices.
    ListDevices,
    /// Ends a device's session and forgets the device.
    RevokeDevice(DeviceId),
    /// Changes what is given.
    UpdateProfile {
        /// What people see.
        display_name: Option<DisplayName>,
        /// Who may write.
        direct_policy: Option<DirectPolicy>,
    },
    /// Online or idle.
    SetStatus(PresenceState),

    /// Users by id or beginning of name.
    SearchUsers {
        /// Id or beginning of a name; already folded to canonical form where it can be.
        query: String,
        /// At most so many.
        limit: u32,
    },
    /// These users.
    GetUsers(Vec<UserRef>),
    /// Asks for friendship, or accepts the other's request.
    RequestFriend {
        /// Whom.
        user: UserRef,
        /// Words.
        note: Note,
    },
    /// Answers a request.
    AnswerFriend {
        /// Whose.
        user: UserRef,
        /// How.
        accept: bool,
    },
    /// Ends a friendship or takes a request back.
    RemoveFriend(UserRef),
    /// Ends friendship, hides requests, refuses messages.
    Block(UserRef),
    /// Undoes a block.
    Unblock(UserRef),
    /// Friends, requests, blocked, with presence.
    ListContacts,

    /// Makes a group, with this user as its owner.
    CreateGroup {
        /// Makes a retry find the group it made.
        client_message_id: ClientMessageId,
        /// Unique.
        name: GroupName,
        /// Free text.
        description: Description,
        /// How strangers join.
        join_policy: JoinPolicy,
        /// Newcomers may read all.
        history_visible: bool,
        /// Not found by searching.
        unlisted: bool,
    },
    /// Listed groups by beginning of name, or id.
    SearchGroups {
        /// Id or beginning of a name.
        query: String,
        /// At most so many.
        limit: u32,
    },
    /// Joins, asks to join, or accepts an invitation.
    JoinGroup {
        /// Which.
        group: ConversationRef,
        /// For the admins.
        note: Note,
    },
    /// An admin answers somebody who asked to join.
    AnswerJoin {
        /// Which group.
        group: ConversationRef,
        /// Who asked.
        user: UserRef,
        /// How.
        accept: bool,
    },
    /// Invites.
    InviteMember {
        /// Where.
        group: ConversationRef,
        /// Whom.
        user: UserRef,
    },
    /// Declines an invitation.
    DeclineInvitation(ConversationRef),
    /// Leaves.
    LeaveGroup(ConversationRef),
    /// Deletes, for everybody.
    DeleteGroup(ConversationRef),
    /// Removes a member.
    KickMember {
        /// Where.
        group: ConversationRef,
        /// Whom.
        user: UserRef,
        /// For good.
        ban: bool,
    },
    /// Lets a banned user come back.
    UnbanMember {
        /// Where.
        group: ConversationRef,
        /// Whom.
        user: UserRef,
    },
    /// Silences a member.
    MuteMember {
        /// Where.
        group: ConversationRef,
        /// Whom.
        user: UserRef,
        /// From now, in milliseconds; 0 ends it.
        duration_ms: u64,
    },
    /// Makes a member an admin, or an admin a member.
    SetRole {
        /// Where.
        group: ConversationRef,
        /// Whom.
        user: UserRef,
        /// Member or Admin.
        role: Role,
    },
    /// Gives the group away.
    TransferOwnership {
        /// Which.
        group: ConversationRef,
        /// To whom.
        user: UserRef,
    },
    /// Changes what is given.
    UpdateGroup {
        /// Which.
        group: ConversationRef,
        /// Its new name.
        name: Option<GroupName>,
        /// Its new description.
        description: Option<Description>,
        /// How strangers join.
        join_policy: Option<JoinPolicy>,
        /// Newcomers may read all.
        history_visible: Option<bool>,
        /// Not found by searching.
        unlisted: Option<bool>,
    },
    /// Members in order of user id.
    ListMembers {
        /// Where.
        group: ConversationRef,
        /// With a greater id; `UserId(0)`: from the beginning.
        after: UserId,
        /// At most so many.
        limit: u32,
    },

    /// Writes to a conversation.
    Send {
        /// Where.
        conversation: ConversationRef,
        /// What.
        draft: Draft,
    },

    /// Everything the user is in.
    ListConversations,
    /// One of them.
    GetConversation(ConversationRef),
    /// A page of the log.
    ReadHistory {
        /// Where.
        conversation: ConversationRef,
        /// Which part.
        page: Page,
    },
    /// This device's application has everything up to there.
    Acknowledge {
        /// Where.
        conversation: ConversationId,
        /// Up to.
        seq: Seq,
    },
    /// The user has read everything up to there.
    MarkRead {
        /// Where.
        conversation: ConversationId,
        /// Up to.
        seq: Seq,
    },
    /// Tells the others that the user is writing, or stopped.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Stopped.
        stopped: bool,
    },
}

/// What a user wants to have appended: not yet numbered, not yet stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The sender's idempotency key.
    pub client_message_id: ClientMessageId,
    /// What is to be said.
    pub content: DraftContent,
}

/// What a draft says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DraftContent {
    /// A message.
    Message {
        /// Byte for byte.
        text: MessageText,
        /// The message that this one answers.
        reply_to: Option<Seq>,
        /// Members who are called on.
        mentions: Vec<UserId>,
        /// Everybody is called on.
        mention_all: bool,
    },
    /// New text for an own message.
    Edit {
        /// Which.
        target: Seq,
        /// Its new text.
        text: MessageText,
    },
    /// Takes a message back.
    Recall {
        /// Which.
        target: Seq,
    },
    /// Reacts to a message, or takes the reaction back.
    React {
        /// Which.
        target: Seq,
        /// With what.
        emoji: Emoji,
        /// Taken back.
        remove: bool,
    },
}

impl Draft {
    /// A text message with a fresh idempotency key.
    #[must_use]
    pub fn text(text: MessageText) -> Self {
        Self {
            client_message_id: ClientMessageId::random(),
            content: DraftContent::Message {
                text,
                reply_to: None,
                mentions: Vec::new(),
                mention_all: false,
            },
        }
    }

    /// The same draft under this idempotency key.
    #[must_use]
    pub fn with_id(mut self, id: ClientMessageId) -> Self {
        self.client_message_id = id;
        self
    }
}
