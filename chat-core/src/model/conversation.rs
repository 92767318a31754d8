//! Conversations, in which messages are ordered, and their members.

use super::{ConversationId, Seq, Timestamp, UserId};

/// Kind of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConversationKind {
    /// Conversation between two users. Both ids are equal in a user's conversation of notes to
    /// self.
    Direct {
        /// The smaller user id.
        low: UserId,
        /// The greater user id.
        high: UserId,
    },
    /// Group with a name, members and roles.
    Group,
    /// A user's own log of events outside of direct conversations and groups, such as friend
    /// requests, invitations to groups, the answers to them, and messages of the system.
    Inbox {
        /// User whose inbox this is.
        owner: UserId,
    },
}

impl ConversationKind {
    /// Returns the kind of the direct conversation of two users, in any order.
    #[must_use]
    pub(crate) fn direct(a: UserId, b: UserId) -> Self {
        Self::Direct {
            low: a.min(b),
            high: a.max(b),
        }
    }
}

/// Rule by which users become members of a group. In an unlisted group, `Open` and `Approval` apply
/// only to users who were members before or have already asked to join; other users become members
/// by invitation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum JoinPolicy {
    /// Users join by themselves, without approval or invitation.
    #[default]
    Open,
    /// Users ask to join, and an admin or the owner decides. Only admins and the owner may invite.
    Approval,
    /// Users join only after a member has invited them.
    Invite,
}

/// Name, description and policies of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct GroupProfile {
    /// Name, in the spelling in which it is shown.
    #[cfg_attr(feature = "serde", serde(rename = "group"))]
    pub name: String,
    /// Canonical spelling of `name` ([`GroupName::key`](super::GroupName::key)), by which the group
    /// is found; unique among the groups that are not deleted.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub key: String,
    /// Form of `name` that is equal for names that look alike; unique like `key`.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub skeleton: String,
    /// Description; may be empty.
    pub description: String,
    /// Rule by which users become members.
    pub join_policy: JoinPolicy,
    /// True if new members may read the events from before they joined.
    pub history_visible: bool,
    /// True if no search by name finds the group, and only its members, invited users and users who
    /// have asked to join find it, by its id or its full name.
    pub unlisted: bool,
}

/// Stored conversation, with the counters that order its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Id of the conversation.
    pub id: ConversationId,
    /// Kind of the conversation.
    pub kind: ConversationKind,
    /// Profile, if this is a group.
    pub group: Option<GroupProfile>,
    /// Last event; [`Seq::ZERO`] if there is none.
    pub last_seq: Seq,
    /// Number of events that are messages, recalled ones included. An unread count is the
    /// difference of two such numbers, minus the recalled messages between them.
    pub message_count: u64,
    /// Last event that changed who is a member of the group, or deleted the group; [`Seq::ZERO`] if
    /// there is none.
    pub members_version: Seq,
    /// Time of the last event, or of the creation if there is none. Later events have later times.
    pub last_time: Timestamp,
    /// Number of active members.
    pub member_count: u32,
    /// True if the group was deleted; then no event can be appended.
    pub deleted: bool,
}

/// A group as it was when a member left it or was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Profile of the group.
    pub profile: GroupProfile,
    /// Number of active members who remained.
    pub member_count: u32,
    /// Time of the last event that the former member may read.
    pub last_time: Timestamp,
}

/// Role of a member in a group. A role also has the rights of the variants before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Role {
    /// May read and send messages.
    #[default]
    Member,
    /// May also invite under every [`JoinPolicy`], answer requests to join, remove and ban users of
    /// a lower role, unban users, mute members with the role `Member`, recall the messages of
    /// everyone but the owner, mention all members, and change the group.
    Admin,
    /// May also assign roles, transfer the ownership and delete the group. A group has one owner,
    /// or none if the owner's account was deleted and no member could take over.
    Owner,
}

/// State of a user in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum MemberState {
    /// The user is a member.
    Active,
    /// The user is invited and has not answered.
    Invited,
    /// The user asked to join and has no answer yet.
    Requested,
    /// The user is not a member, and is neither invited, waiting for admission nor banned: for
    /// example, the user left, was removed or refused, or declined an invitation.
    Left,
    /// The user, who need not have been a member, cannot join until unbanned.
    Banned,
}

/// Stored membership of a user in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Conversation of the membership.
    pub conversation: ConversationId,
    /// User of the membership.
    pub user: UserId,
    /// State of the user in the conversation.
    pub state: MemberState,
    /// Role of the user.
    pub role: Role,
    /// First event that the user may read; [`Seq::ZERO`] if the user was never a member.
    pub first_seq: Seq,
    /// Last event that a former member may read; `None` for a member, and for a user who never was
    /// a member.
    pub until_seq: Option<Seq>,
    /// Time until which the user may not send; 0 or a past time if the user is not muted.
    pub muted_until: Timestamp,
    /// Last event that a device of the user has acknowledged since the user last joined; at least
    /// the position before `first_seq`.
    pub delivered_seq: Seq,
    /// Last event that the user has read on any device, or last message that the user has sent, if
    /// that is later; at least the `MemberJoined` event by which the user joined a group.
    pub read_seq: Seq,
    /// True if this is a direct conversation in which the user has sent a message, and so accepts
    /// answers; see [`DirectPolicy::Replies`](super::DirectPolicy::Replies).
    pub has_sent: bool,
    /// User whose invitation to the group the inbox of this user contains, while the state is
    /// `Invited`. `None` in other states, and if the inbox contains no invitation, because this
    /// user blocked the inviter.
    pub invited_by: Option<UserId>,
}

impl Member {
    /// Returns the time until which the member is muted, or 0 if the member is not muted at `now`.
    #[must_use]
    pub(crate) fn muted_until_at(&self, now: Timestamp) -> Timestamp {
        if self.muted_until > now {
            self.muted_until
        } else {
            Timestamp(0)
        }
    }

    /// Returns an active member who may read from `first_seq` on.
    #[must_use]
    pub fn active(conversation: ConversationId, user: UserId, role: Role, first_seq: Seq) -> Self {
        Self {
            conversation,
            user,
            state: MemberState::Active,
            role,
            first_seq,
            until_seq: None,
            muted_until: Timestamp(0),
            delivered_seq: first_seq.previous(),
            read_seq: first_seq.previous(),
            has_sent: false,
            invited_by: None,
        }
    }

    /// Changes the state, and clears `invited_by`, which belongs to the previous state.
    pub(crate) fn set_state(&mut self, state: MemberState) {
        self.state = state;
        self.invited_by = None;
    }

    /// Returns whether the user is a member now.
    #[must_use]
    pub(crate) fn is_active(&self) -> bool {
        self.state == MemberState::Active
    }

    /// Returns whether the user may read the event at `seq`.
    #[must_use]
    pub(crate) fn may_read(&self, seq: Seq) -> bool {
        self.first_seq > Seq::ZERO && seq >= self.first_seq && self.until_seq.is_none_or(|until| seq <= until)
    }
}
