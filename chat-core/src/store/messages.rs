//! Logs of conversations.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::model::{ClientMessageId, ConversationId, Event, Member, Page, Seq, UserId};

/// A page of events that one user may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// Events in ascending order, without gaps.
    pub events: Vec<Event>,
    /// Latest edits of those messages in `events` that were edited and not recalled, as far as the
    /// reader may read the edits; in any order.
    pub edits: Vec<Event>,
    /// True if more events follow in the direction of the page.
    pub has_more: bool,
    /// Membership of the reader, from the same snapshot.
    pub member: Member,
    /// Last sequence number of the conversation, from the same snapshot.
    pub last_seq: Seq,
}

/// A stored event that was sent with a client message id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// User who sent the event.
    pub sender: UserId,
    /// Client message id that the sender gave the event.
    pub client_message_id: ClientMessageId,
    /// The event as stored.
    pub event: Event,
}

/// Reads of the logs of conversations.
#[async_trait]
pub trait MessageStore: Debug + Send + Sync + 'static {
    /// Returns a page of the events that `reader` may read, and the latest edits of the messages in
    /// it; membership and events come from one snapshot. Returns `None` if the user was never a
    /// member, or the conversation does not exist.
    ///
    /// `page.max_bytes` bounds the bodies of the events and of these edits together. The first
    /// event is returned with its edit even if they are larger. A store applies the bound before it
    /// reads bodies, or reads at most one event and its edit beyond it.
    async fn events_for(
        &self,
        reader: UserId,
        conversation: ConversationId,
        page: Page,
    ) -> Result<Option<EventPage>, StoreError>;

    /// Returns up to `max_events` existing events of `first..=last`, in ascending order. Does not
    /// check who may read the events; the caller does.
    async fn events(
        &self,
        conversation: ConversationId,
        first: Seq,
        last: Seq,
        max_events: u32,
    ) -> Result<Vec<Event>, StoreError>;

    /// Returns the events at these positions, in any order. Positions without an event are left
    /// out.
    async fn events_at(&self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError>;

    /// Returns the events of `first..=last` that `sender` sent, in ascending order.
    ///
    /// There is no index of events by sender, because it would slow down every append. A store
    /// scans the whole range instead, so callers pass ranges of a few thousand events. They find
    /// the conversations of a sender with
    /// [`members_of_user`](super::ConversationStore::members_of_user).
    async fn events_by_sender(
        &self,
        conversation: ConversationId,
        sender: UserId,
        first: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, StoreError>;

    /// Returns the events that `sender` sent with these client message ids, in any order. Ids
    /// without an event are left out.
    async fn find_sent(&self, sender: UserId, ids: &[ClientMessageId]) -> Result<Vec<SentEvent>, StoreError>;
}

/// Writes of the logs of conversations.
#[async_trait]
pub trait MessageTx: Send {
    /// Returns the events that were sent with these pairs of sender and client message id, in any
    /// order. Pairs without an event are left out.
    async fn find_sent(&mut self, ids: &[(UserId, ClientMessageId)]) -> Result<Vec<SentEvent>, StoreError>;

    /// Returns the events at these positions of a locked conversation, in any order. Positions
    /// without an event are left out.
    async fn events_at(&mut self, conversation: ConversationId, seqs: &[Seq]) -> Result<Vec<Event>, StoreError>;

    /// Inserts events at the end of the logs of locked conversations. The events must continue each
    /// log without a gap. The caller then updates the rows of the conversations.
    ///
    /// # Errors
    /// - [`StoreError::AlreadySent`]: an event with the same sender and client message id exists
    ///   already, or is also in `events`. The unit must end the transaction with this error.
    /// - [`StoreError::Defect`]: a conversation is not locked, or the sequence numbers or
    ///   `message_count`s do not continue its log.
    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError>;

    /// Records the event `edit` as the latest edit of the message `target`.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the message `target` does not exist.
    async fn mark_edited(&mut self, conversation: ConversationId, target: Seq, edit: Seq) -> Result<(), StoreError>;

    /// Records that the event `recall` recalled the message `target`. Replaces the body of the
    /// message with `tombstone` and the body of each of its edits with `edit_tombstone`, and
    /// deletes its mentions. From then on, the message does not count as unread. The store keeps no
    /// readable copy of the text.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the message `target` does not exist.
    async fn erase(
        &mut self,
        conversation: ConversationId,
        target: Seq,
        recall: Seq,
        tombstone: Bytes,
        edit_tombstone: Bytes,
    ) -> Result<(), StoreError>;

    /// Records that the message at `seq` mentions these users; `UserId(0)` mentions every member.
    async fn put_mentions(
        &mut self,
        conversation: ConversationId,
        seq: Seq,
        users: &[UserId],
    ) -> Result<(), StoreError>;
}
