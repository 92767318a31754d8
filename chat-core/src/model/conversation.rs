//! Where messages are ordered, and a user's place in it.

use super::{ConversationId, Seq, Timestamp, UserId};

/// What a conversation is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConversationKind {
    /// Between two users, `low <= high`; equal for notes to self.
    Direct {
        /// The smaller user id.
        low: UserId,
        /// The greater user id.
        high: UserId,
    },
    /// Named, with members and roles.
    Group,
    /// A user's own log of requests, invitations and notices.
    Inbox {
        /// Whose.
        owner: UserId,
    },
}

impl ConversationKind {
    /// The direct conversation of two users, in whichever order.
    #[must_use]
    pub fn direct(a: UserId, b: UserId) -> Self {
        Self::Direct {
            low: a.min(b),
            high: a.max(b),
        }
    }
}

/// How strangers become members of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JoinPolicy {
    /// They join.
    #[default]
    Open,
    /// They ask, an admin answers.
    Approval,
    /// A member invites them.
    Invite,
}

/// What a group is called and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProfile {
    /// As its members write it.
    pub name: String,
    /// Canonical spelling of `name` ([`GroupName::key`](super::GroupName::key)): what it is found by, unique among groups.
    pub key: String,
    /// Form of `name` under which look-alikes collide; unique too.
    pub skeleton: String,
    /// Free text; may be empty.
    pub description: String,
    /// How strangers become members.
    pub join_policy: JoinPolicy,
    /// Newcomers may read from the first event, not only from their own joining.
    pub history_visible: bool,
    /// Not found by searching; to strangers it does not exist.
    pub unlisted: bool,
}

/// A conversation's row: the counter that orders it, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// What it is.
    pub kind: ConversationKind,
    /// Of a group.
    pub group: Option<GroupProfile>,
    /// The last event's place; [`Seq::ZERO`] while empty.
    pub last_seq: Seq,
    /// How many of its events are messages: unread counts are differences of this.
    pub message_count: u64,
    /// Place of the last event that changed who is a member.
    pub members_version: Seq,
    /// Time of the last event; the next is later.
    pub last_time: Timestamp,
    /// Active members.
    pub member_count: u32,
    /// Deleted: nothing is appended any more.
    pub closed: bool,
}

/// What a member may do in a group. Ordered: a greater role may do more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads and writes.
    #[default]
    Member,
    /// Also invites, kicks, mutes, renames.
    Admin,
    /// Also gives roles and deletes the group; exactly one.
    Owner,
}

/// Whether a user is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// In it.
    Active,
    /// Invited, has not answered.
    Invited,
    /// Asked to join, was not answered.
    Requested,
    /// Was in it, or asked or was invited in vain.
    Left,
    /// May not come back until unbanned.
    Banned,
}

/// A user's place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// Whether they are in it.
    pub state: MemberState,
    /// What they may do there.
    pub role: Role,
    /// Lowest Seq they may read; [`Seq::ZERO`] if they never were a member.
    pub first_seq: Seq,
    /// Highest Seq they may read, once they have left.
    pub until_seq: Option<Seq>,
    /// May not send before; 0: not muted.
    pub muted_until: Timestamp,
    /// Highest Seq that any device of theirs has acknowledged.
    pub delivered_seq: Seq,
    /// Highest Seq that they have read, on any device, or sent.
    pub read_seq: Seq,
}

impl Member {
    /// An active member who may read from `first_seq` on.
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
        }
    }

    /// Whether they are in the conversation now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == MemberState::Active
    }

    /// Whether they may read the event at `seq`.
    #[must_use]
    pub fn may_read(&self, seq: Seq) -> bool {
        self.first_seq > Seq::ZERO && seq >= self.first_seq && self.until_seq.is_none_or(|until| seq <= until)
    }
}
