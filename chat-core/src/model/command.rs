//! Commands of users. `codec`, and the constructors of the types that a command contains, check
//! sizes and formats when a command is built; the engine checks rights and limits.

use super::{
    ConversationId, ConversationQuery, ConversationRef, DeviceId, Draft, GroupChanges, NewGroup, Note, Page,
    PresenceState, ProfileChanges, Role, Secret, Seq, UserId, UserRef,
};

/// Command of a user. [`Commands`](crate::commands::Commands) has a typed method for each.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the variant describes its fields")]
pub enum Command {
    /// Ends the session and invalidates its token.
    Logout,
    /// Changes the password and ends the user's other sessions.
    ChangePassword { old: Secret, new: Secret },
    /// Lists the user's devices.
    ListDevices,
    /// Ends the session of a device and deletes the device.
    RevokeDevice(DeviceId),
    /// Changes the user's profile.
    UpdateProfile(ProfileChanges),
    /// Declares the session online or idle.
    SetPresence(PresenceState),

    /// Searches users who are not disabled, by id or by the beginning of their name.
    SearchUsers {
        /// Id or beginning of a name, in upper or lower case.
        query: String,
        /// Maximum number of results.
        limit: u32,
    },
    /// Returns the profiles of those of these users that exist. Deleted users are found by id only,
    /// and have a placeholder as their name.
    GetUsers(Vec<UserRef>),
    /// Asks a user for friendship, or accepts the request that the user has sent.
    RequestFriend {
        /// The other user.
        user: UserRef,
        /// Text for the other user.
        note: Note,
    },
    /// Answers a friend request.
    AnswerFriend {
        /// User who sent the request.
        user: UserRef,
        /// True to accept, false to decline.
        accept: bool,
    },
    /// Ends a friendship, or withdraws a friend request.
    RemoveFriend(UserRef),
    /// Blocks a user: ends the friendship, discards open friend requests between the two users, and
    /// from then on hides the user's friend requests and invitations to groups, and refuses direct
    /// messages between the two.
    Block(UserRef),
    /// Unblocks a user.
    Unblock(UserRef),
    /// Lists friends, friend requests and blocked users, in order of user id, with the presence of
    /// friends.
    ListContacts {
        /// Lists contacts whose user id is greater than this; `UserId(0)` starts with the first
        /// contact.
        after: UserId,
        /// Maximum number of contacts.
        limit: u32,
    },

    /// Creates a group that the user owns.
    CreateGroup(NewGroup),
    /// Searches listed groups by the beginning of their name, and finds a group by its id if it is
    /// listed, or if the caller is a member, is invited or has asked to join.
    SearchGroups {
        /// Id or beginning of a name, in upper or lower case.
        query: String,
        /// Maximum number of results.
        limit: u32,
    },
    /// Joins a group, accepts an invitation to it, or asks to join it.
    JoinGroup {
        group: ConversationRef,
        /// Text for the admins and the owner, if the user has to ask them.
        note: Note,
    },
    /// Answers a request to join a group.
    AnswerJoin {
        group: ConversationRef,
        /// User who asked to join.
        user: UserRef,
        /// True to accept, false to decline.
        accept: bool,
    },
    /// Invites a user to a group. If the user has asked to join and the caller may answer the
    /// request, the user becomes a member.
    InviteMember { group: ConversationRef, user: UserRef },
    /// Declines an invitation to a group.
    DeclineInvitation(ConversationRef),
    /// Leaves a group, withdraws a request to join it, or declines an invitation to it without
    /// notifying the inviter. If the owner leaves as the last member, the group is deleted.
    LeaveGroup(ConversationRef),
    /// Deletes a group for all its members, who may still read its log.
    DeleteGroup(ConversationRef),
    /// Removes a member from a group, withdraws a user's invitation, or refuses a user's request to
    /// join.
    KickMember {
        group: ConversationRef,
        user: UserRef,
        /// True to ban the user, who need not be a member: the user cannot join until unbanned.
        ban: bool,
    },
    /// Lifts the ban of a user, who may then join again.
    UnbanMember { group: ConversationRef, user: UserRef },
    /// Mutes a member of a group who is neither an admin nor the owner.
    MuteMember {
        group: ConversationRef,
        user: UserRef,
        /// Duration from now in milliseconds; 0 unmutes.
        duration_ms: u64,
    },
    /// Makes a member an admin, or an admin a member.
    SetRole {
        group: ConversationRef,
        user: UserRef,
        /// `Member` or `Admin`.
        role: Role,
    },
    /// Makes another member the owner of a group.
    TransferOwnership {
        group: ConversationRef,
        /// The new owner.
        user: UserRef,
    },
    /// Changes the name, description or policies of a group.
    UpdateGroup {
        group: ConversationRef,
        /// Fields to change, with their new values.
        changes: GroupChanges,
    },
    /// Lists members of a group, in order of user id. For admins and the owner, also lists the
    /// users who are invited, have asked to join or are banned.
    ListMembers {
        group: ConversationRef,
        /// Lists members whose id is greater than this; `UserId(0)` starts with the first member.
        after: UserId,
        /// Maximum number of members.
        limit: u32,
    },

    /// Appends a draft to a conversation.
    Send {
        conversation: ConversationRef,
        draft: Draft,
    },

    /// Lists a page of the conversations that the user is in, or was in and may still read. The
    /// query says whether those that have ended are included.
    ListConversations(ConversationQuery),
    /// Returns the state of one of the user's conversations.
    GetConversation(ConversationRef),
    /// Reads a page of a conversation's log.
    ReadHistory { conversation: ConversationRef, page: Page },
    /// Moves the device's cursor: the application on it has processed every event up to `seq`.
    Acknowledge {
        conversation: ConversationId,
        /// Last processed event.
        seq: Seq,
    },
    /// Moves the user's read mark: the user has read every event up to `seq`.
    MarkRead {
        conversation: ConversationId,
        /// Last read event.
        seq: Seq,
    },
    /// Notifies the other members, except in large groups, that the user is typing or stopped.
    Typing {
        conversation: ConversationId,
        /// True if the user stopped typing.
        stopped: bool,
    },
}
