//! Conversations and their members.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    Conversation, ConversationId, ConversationKind, DeviceId, GroupProfile, Member, Seq, Timestamp, UserId,
};

/// A conversation as one user's device stands to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipView {
    /// The conversation's row.
    pub conversation: Conversation,
    /// The user's place in it.
    pub member: Member,
    /// Highest Seq that the device acknowledged; [`Seq::ZERO`] if none.
    pub cursor: Seq,
    /// Messages in `(max(member.read_seq, member.first_seq - 1), min(last_seq, member.until_seq)]`. A recalled message counts
    /// until it is read: its tombstone is in the timeline. Exact: a difference of two `message_count`s.
    pub unread: u64,
    /// Messages in the same range that mention the user, or everybody; recalled ones excepted.
    pub mentions: u64,
    /// Direct conversations of two users: the other's place.
    pub peer: Option<Member>,
}

/// Reads of conversations.
#[async_trait]
pub trait ConversationStore: Debug + Send + Sync + 'static {
    /// One conversation's row.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// The direct conversation or inbox of this kind; for [`ConversationKind::Group`], always `None`.
    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError>;

    /// The open group of exactly this key (the canonical spelling of a name).
    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError>;

    /// Up to `limit` open, listed groups whose key begins with `prefix`, by key.
    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError>;

    /// Every conversation in which `user` may read something or will as soon as there is something (`first_seq` is set
    /// and not beyond `until_seq`), closed ones too, each seen from `device`, in any order. All of one snapshot.
    async fn memberships(&self, user: UserId, device: DeviceId) -> Result<Vec<MembershipView>, StoreError>;

    /// One of them.
    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError>;

    /// A user's place in a conversation.
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError>;

    /// Up to `limit` members (of every state but `Left`) with a greater user id than `after`, by user id.
    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError>;

    /// `(last_seq, members_version)` of those of these conversations that exist: what a node compares after a gap.
    async fn last_seqs(&self, ids: &[ConversationId]) -> Result<Vec<(ConversationId, Seq, Seq)>, StoreError>;
}

/// A conversation to be made.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// What it is.
    pub kind: ConversationKind,
    /// Of a group.
    pub group: Option<GroupProfile>,
    /// Now.
    pub created: Timestamp,
}

impl NewConversation {
    /// Returns the row of this conversation, still empty, under the id that the store gave it.
    #[must_use]
    pub fn into_row(self, id: ConversationId) -> Conversation {
        Conversation {
            id,
            kind: self.kind,
            group: self.group,
            last_seq: Seq::ZERO,
            message_count: 0,
            members_version: Seq::ZERO,
            last_time: self.created,
            member_count: 0,
            closed: false,
        }
    }
}

/// Writes of conversations.
#[async_trait]
pub trait ConversationTx: Send {
    /// Makes an empty conversation, locked by this transaction. `None` if one of the same direct or inbox kind
    /// exists, or an open group of the same key or skeleton (then nothing was written and the transaction goes on).
    async fn create_conversation(&mut self, new: NewConversation) -> Result<Option<ConversationId>, StoreError>;

    /// The direct conversation or inbox of this kind. Does not lock it.
    async fn conversation_of_kind(&mut self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError>;

    /// Locks a conversation until the transaction ends, and reads its row as last committed.
    async fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// Replaces everything but `id` and `kind` of a locked conversation. `false` if the group's new key or skeleton is
    /// taken by another open group (then nothing was written and the transaction goes on). Closing frees both.
    async fn update_conversation(&mut self, conversation: &Conversation) -> Result<bool, StoreError>;

    /// Places of those of these users who have one, in any order.
    async fn members_in(&mut self, id: ConversationId, users: &[UserId]) -> Result<Vec<Member>, StoreError>;

    /// Active members with at least this role, by user id.
    async fn members_with_role(
        &mut self,
        id: ConversationId,
        role: crate::model::Role,
    ) -> Result<Vec<Member>, StoreError>;

    /// Inserts or replaces a place. `delivered_seq` and `read_seq` only grow: of the stored and the given one the greater
    /// stays.
    async fn put_member(&mut self, member: &Member) -> Result<(), StoreError>;

    /// Moves `read_seq` of these active members up to the given places; never down.
    async fn advance_read(&mut self, id: ConversationId, reads: &[(UserId, Seq)]) -> Result<(), StoreError>;

    /// In how many open groups this user is active: for limits.
    async fn group_count(&mut self, user: UserId) -> Result<u32, StoreError>;
}
