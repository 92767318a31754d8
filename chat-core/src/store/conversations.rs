//! Conversations and their members.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    Conversation, ConversationId, ConversationKind, DeviceId, GroupProfile, GroupSnapshot, Member, Role, Seq,
    Timestamp, UserId,
};

/// A user's membership of a conversation, as one device of the user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipView {
    /// Row of the conversation.
    pub conversation: Conversation,
    /// Membership of the user.
    pub member: Member,
    /// Highest sequence number that the device acknowledged; [`Seq::ZERO`] if none.
    pub cursor: Seq,
    /// Number of unread messages: those in `(max(member.read_seq, member.first_seq - 1),
    /// min(last_seq, member.until_seq)]`, without recalled ones. Exact: a difference of two
    /// `message_count`s, less the recalled messages between them.
    pub unread: u64,
    /// Number of messages in the same range that mention the user or every member, without recalled
    /// ones.
    pub unread_mentions: u64,
    /// Membership of the other user, if this is a direct conversation of two users.
    pub peer: Option<Member>,
    /// The group as the user left it, if `member.until_seq` is set: the snapshot that
    /// [`put_snapshot`](ConversationTx::put_snapshot) wrote last.
    pub snapshot: Option<GroupSnapshot>,
}

/// A group that was found by its name, with the membership of the user who looks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedGroup {
    /// Row of the group.
    pub conversation: Conversation,
    /// Membership of the user, in any state; `None` if there is none.
    pub member: Option<Member>,
}

/// Reads of conversations.
#[async_trait]
pub trait ConversationStore: Debug + Send + Sync + 'static {
    /// Returns the row of a conversation.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// Returns the id of the direct conversation or inbox of this kind; always `None` for
    /// [`ConversationKind::Group`].
    async fn conversation_of_kind(&self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError>;

    /// Returns the id of the existing (not deleted) group with exactly this key (the canonical
    /// spelling of its name).
    async fn group_by_key(&self, key: &str) -> Result<Option<ConversationId>, StoreError>;

    /// Returns the existing group with exactly this key, and the membership of `user` in it.
    async fn named_group(&self, key: &str, user: UserId) -> Result<Option<NamedGroup>, StoreError>;

    /// Returns up to `limit` existing groups whose key begins with `prefix`, ordered by key. Leaves
    /// out those that are `unlisted`.
    async fn search_groups(&self, prefix: &str, limit: u32) -> Result<Vec<Conversation>, StoreError>;

    /// Returns memberships of `user` whose readable range is not empty: `first_seq` is set and not
    /// beyond `until_seq`. Such a membership counts even if no event of the range is stored yet, or
    /// if the group is deleted. Of the memberships in conversations with a greater id than `after`,
    /// this returns up to `limit`, those with the smallest ids, as `device` sees them, in any order
    /// and from one snapshot.
    async fn memberships(
        &self,
        user: UserId,
        device: DeviceId,
        after: ConversationId,
        limit: u32,
    ) -> Result<Vec<MembershipView>, StoreError>;

    /// Returns the membership of `user` in one conversation, as `device` sees it, or `None` if
    /// [`memberships`](Self::memberships) leaves it out.
    async fn membership(
        &self,
        user: UserId,
        device: DeviceId,
        id: ConversationId,
    ) -> Result<Option<MembershipView>, StoreError>;

    /// Returns the membership of a user in a conversation, in any state.
    async fn member(&self, id: ConversationId, user: UserId) -> Result<Option<Member>, StoreError>;

    /// Returns up to `limit` memberships of users with a greater id than `after`, ordered by user
    /// id, in every state but `Left`.
    async fn members(&self, id: ConversationId, after: UserId, limit: u32) -> Result<Vec<Member>, StoreError>;

    /// Returns up to `limit` memberships of a user in conversations with a greater id than `after`,
    /// ordered by conversation id, in every state.
    async fn members_of_user(&self, user: UserId, after: ConversationId, limit: u32)
    -> Result<Vec<Member>, StoreError>;

    /// Returns the version of the log of each of these conversations that exists. A node compares
    /// them with its own state when it may have missed doorbells (messages on the bus that say that
    /// a log has grown).
    async fn log_versions(&self, ids: &[ConversationId]) -> Result<Vec<LogVersion>, StoreError>;
}

/// The fields of a conversation's row that say how far its log has grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogVersion {
    /// The conversation.
    pub conversation: ConversationId,
    /// Last event of the log; [`Seq::ZERO`] if none.
    pub last_seq: Seq,
    /// Last event that changed who is a member of the group, or deleted the group; [`Seq::ZERO`] if
    /// none.
    pub members_version: Seq,
}

/// A conversation to create.
#[derive(Clone, Debug)]
pub struct NewConversation {
    /// Kind of the conversation.
    pub kind: ConversationKind,
    /// Profile of the group; `None` for other kinds.
    pub group: Option<GroupProfile>,
    /// Time of creation.
    pub created: Timestamp,
}

impl NewConversation {
    /// Returns the row of this new, empty conversation with the id that the store assigned.
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
            deleted: false,
        }
    }
}

/// Writes of conversations.
#[async_trait]
pub trait ConversationTx: Send {
    /// Creates an empty conversation, locked by this transaction. Returns `None` if the direct
    /// conversation or inbox exists already, or an existing group has the same key or skeleton:
    /// then nothing was written and the transaction continues.
    async fn create_conversation(&mut self, new: NewConversation) -> Result<Option<ConversationId>, StoreError>;

    /// Returns the id of the direct conversation or inbox of this kind, without locking it.
    async fn conversation_of_kind(&mut self, kind: &ConversationKind) -> Result<Option<ConversationId>, StoreError>;

    /// Locks a conversation until the transaction ends, and returns its latest row: the one that
    /// was committed last, or that this transaction has written.
    async fn lock_conversation(&mut self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// Replaces all fields of a locked conversation except `id` and `kind`. Returns `false` if
    /// another existing group has the new key or skeleton: then nothing was written and the
    /// transaction continues. Deleting a group frees both.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the conversation is not locked, or does not exist.
    async fn update_conversation(&mut self, conversation: &Conversation) -> Result<bool, StoreError>;

    /// Returns the memberships of these users, in any state and any order. Users without a
    /// membership are left out.
    async fn members_in(&mut self, id: ConversationId, users: &[UserId]) -> Result<Vec<Member>, StoreError>;

    /// Returns the active members with at least this role, ordered by user id.
    async fn members_with_role(&mut self, id: ConversationId, role: Role) -> Result<Vec<Member>, StoreError>;

    /// Returns up to `limit` active members whose accounts are not disabled, ordered by descending
    /// role, then by ascending `first_seq`, then by ascending user id.
    async fn members_by_seniority(&mut self, id: ConversationId, limit: u32) -> Result<Vec<Member>, StoreError>;

    /// Inserts or replaces a membership. `delivered_seq` and `read_seq` only grow: the greater of
    /// the stored and the given value is kept.
    async fn put_member(&mut self, member: &Member) -> Result<(), StoreError>;

    /// Inserts or replaces the snapshot of a locked group that `user` leaves. It stays when the
    /// user comes back, and is replaced when the user leaves again.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the group is not locked, or does not exist.
    async fn put_snapshot(
        &mut self,
        id: ConversationId,
        user: UserId,
        snapshot: &GroupSnapshot,
    ) -> Result<(), StoreError>;

    /// Advances `read_seq` of these active members to the given values; never lowers it.
    async fn advance_read(&mut self, id: ConversationId, reads: &[(UserId, Seq)]) -> Result<(), StoreError>;

    /// Returns the number of existing groups in which this user is active, but at most `max`: a
    /// store stops counting there. The engine limits this number.
    async fn group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError>;

    /// Returns the number of groups whose readable range for this user is not empty, and in which
    /// the user is not active or which are deleted, but at most `max`: a store stops counting
    /// there. The engine limits this number.
    async fn former_group_count(&mut self, user: UserId, max: u32) -> Result<u32, StoreError>;
}
