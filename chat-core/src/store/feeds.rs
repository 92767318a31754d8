//! Durable cursors of event feeds.
//!
//! A feed is a named consumer of events: a bot, a webhook, a search index. It keeps a cursor in
//! each conversation. Nodes divide a feed by [`FeedShard`]: a node works on the conversations of a
//! shard while it holds the [lease](super::FeedLease) of that shard.

use std::fmt::Debug;

use async_trait::async_trait;

use super::{FeedLease, FeedShard, StoreError};
use crate::model::{ConversationId, Seq};

/// Position of a feed in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedPosition {
    /// Conversation that the position is in.
    pub conversation: ConversationId,
    /// Last event that the feed has processed; [`Seq::ZERO`] if none.
    pub cursor: Seq,
    /// Last event of the conversation; [`Seq::ZERO`] if none.
    pub last_seq: Seq,
}

impl FeedPosition {
    /// Returns a position with these values.
    #[must_use]
    pub const fn new(conversation: ConversationId, cursor: Seq, last_seq: Seq) -> Self {
        Self {
            conversation,
            cursor,
            last_seq,
        }
    }

    /// Returns whether the conversation has events that the feed has not processed.
    #[must_use]
    pub(crate) fn is_behind(&self) -> bool {
        self.cursor < self.last_seq
    }
}

/// A page of conversations in which a feed is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedBacklog {
    /// Conversations with events to process, ordered by id.
    pub positions: Vec<FeedPosition>,
    /// Conversation after which the next page starts; `None` on the last page.
    pub next: Option<ConversationId>,
}

impl FeedBacklog {
    /// Builds the page from the positions of `limit` consecutive conversations (fewer at the end).
    /// Keeps only those that belong to one of `shards` and in which the feed is behind.
    #[must_use]
    pub fn of_scan(mut scanned: Vec<FeedPosition>, shards: &[FeedShard], limit: u32) -> Self {
        let is_full = scanned.len() >= limit as usize;
        let next = scanned.last().map(|last| last.conversation).filter(|_| is_full);
        scanned.retain(|position| position.is_behind() && shards.contains(&FeedShard::of(position.conversation)));
        Self {
            positions: scanned,
            next,
        }
    }
}

/// Reads of feeds. The name of a feed has at most 255 bytes.
#[async_trait]
pub trait FeedStore: Debug + Send + Sync + 'static {
    /// Returns the position of a feed in those of these conversations that exist, in any order. An
    /// id that is passed twice is answered once.
    async fn feed_positions(
        &self,
        feed: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<FeedPosition>, StoreError>;

    /// Examines up to `limit` conversations with a greater id than `after`. Returns those that
    /// belong to one of `shards` and in which the feed is behind.
    ///
    /// A node calls this after it has claimed a shard, and rarely afterwards, because it learns of
    /// new events from its own commits and from doorbells (messages on the bus that say that a log
    /// has grown). One call reads up to `limit` rows, however many of them it returns.
    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError>;

    /// Returns the leases of a feed that have not expired, in any order.
    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backlog_keeps_conversations_of_its_shards_that_are_behind() {
        let position = |id, cursor, last| FeedPosition::new(ConversationId(id), Seq(cursor), Seq(last));
        let scanned = vec![
            position(1, 0, 3),
            position(2, 3, 3),
            position(17, 1, 2),
            position(18, 0, 1),
        ];
        let shards = [FeedShard::of(ConversationId(1))];
        let page = FeedBacklog::of_scan(scanned.clone(), &shards, 4);
        assert_eq!(page.positions, [scanned[0], scanned[2]]);
        assert_eq!(page.next, Some(ConversationId(18)));
        assert_eq!(FeedBacklog::of_scan(scanned, &shards, 5).next, None);
    }
}
