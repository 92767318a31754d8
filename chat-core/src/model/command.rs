//! What a session may ask for. Commands are valid by construction: sizes and forms were checked when they were made
//! (`codec`, or the constructors of their parts); rights are checked by the engine.

use super::{
    ConversationId, ConversationRef, DeviceId, Draft, GroupChanges, NewGroup, Note, Page, PresenceState,
    ProfileChanges, Role, Secret, Seq, UserId, UserRef,
};

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
    UpdateProfile(ProfileChanges),
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
    CreateGroup(NewGroup),
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
        /// New values of what changes.
        changes: GroupChanges,
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
