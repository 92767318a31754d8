//! The logs.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{ClientMessageId, ConversationId, Event, Member, Page, Seq, UserId};

/// A page of events that one user may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// Ascending, without holes.
    pub events: Vec<Event>,
    /// More follow in the direction asked.
    pub more: bool,
    /// The reader's place, of the same snapshot.
    pub member: Member,
    /// The conversation's last place, of the same snapshot.
    pub last_seq: Seq,
}

/// Where a client message id ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// Who used it.
    pub sender: UserId,
    /// The id.
    pub client_message_id: ClientMessageId,
    /// The event it became.
    pub event: Event,
}

/// Reads of logs.
#[async_trait]
pub trait MessageStore: Debug + Send + Sync + 'static {
    /// A page of what `reader` may read: membership and events are of one snapshot. `None` if they never were a member.
    async fn events_for(
        &self,
        reader: UserId,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Option<EventPage>, StoreError>;

    /// Events `first..=last`, as far as they exist, up to `max_events`: for nodes, which check the readers themselves.
    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError>;

    /// Those of these events that exist, in any order.
    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError>;

    /// Those of these ids that this sender used, in any order.
    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError>;
}

/// Writes of logs.
#[async_trait]
pub trait MessageTx: Send {
    /// Those of these (sender, id) pairs that were used, in any order.
    async fn find_sent(&mut self, ids: &[(UserId, ClientMessageId)]) -> Result<Vec<SentEvent>, StoreError>;

    /// Those of these events of a locked conversation that exist, in any order.
    async fn events_at(&mut self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError>;

    /// Adds events to a locked conversation. They continue its log without a gap; the caller updates its row.
    ///
    /// # Errors
    /// [`StoreError::AlreadySent`] if a (sender, client message id) is taken: the transaction is to be given up.
    /// [`StoreError::Corrupt`] if the conversation is not locked, or a place or `message_count` is not the next.
    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError>;

    /// Says of `target` that `edit` is its latest edit. [`StoreError::Corrupt`] if there is no such event.
    async fn mark_edited(&mut self, conversation: ConversationId, target: Seq, edit: Seq) -> Result<(), StoreError>;

    /// Says of `target` that `recall` took it back; replaces its body with `tombstone`, that of each of its edits with
    /// `edit_tombstone`, and forgets its mentions. No trace of the text stays readable through the store.
    async fn erase(
        &mut self,
        conversation: ConversationId,
        target: Seq,
        recall: Seq,
        tombstone: bytes::Bytes,
        edit_tombstone: bytes::Bytes,
    ) -> Result<(), StoreError>;

    /// Records that the message at `seq` mentions these users; `UserId(0)` stands for everybody.
    async fn put_mentions(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), StoreError>;
}
