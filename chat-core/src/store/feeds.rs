//! Durable cursors of event feeds, and the leases by which nodes share a feed.
//!
//! A feed is a named consumer of events: a bot, a webhook, a search index. It keeps a cursor in
//! each conversation. Nodes divide a feed by [`FeedShard`]: a node works on the conversations of a
//! shard while it holds the lease of that shard, and only the holder of the lease can advance
//! cursors. A lease expires by the store's clock, so a shard whose node died goes to another node.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{ConversationId, NodeId, Seq, Timestamp};

/// One of the [`FeedShard::COUNT`] parts of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedShard(u16);

impl FeedShard {
    /// Number of shards of every feed, and so the maximum number of nodes that work on one feed at
    /// the same time. Fixed, because nodes that disagreed would process an event twice.
    pub const COUNT: u16 = 16;

    /// Returns the shard with this number, or `None` if it is not below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Returns the shard of a conversation.
    #[must_use]
    pub fn of(conversation: ConversationId) -> Self {
        Self(u16::try_from(conversation.0 % u64::from(Self::COUNT)).unwrap_or_default())
    }

    /// Returns every shard.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Returns the number of the shard.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Right of one node to work on a shard of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedLease {
    /// Name of the feed.
    pub feed: String,
    /// Shard that the node may work on.
    pub shard: FeedShard,
    /// Node that holds the lease.
    pub node: NodeId,
    /// Fencing token: grows each time a node claims the shard. A node with an older term has lost
    /// the lease.
    pub term: u64,
    /// Time at which the lease expires unless renewed, by the store's clock.
    pub expires: Timestamp,
}

impl FeedLease {
    /// Returns a lease of these values.
    #[must_use]
    pub const fn new(feed: String, shard: FeedShard, node: NodeId, term: u64, expires: Timestamp) -> Self {
        Self {
            feed,
            shard,
            node,
            term,
            expires,
        }
    }

    /// Returns the lease of a claim at `now`, after the latest lease of the shard, or `None` if
    /// another node holds the shard. For stores.
    #[must_use]
    pub fn claimed(self, latest: Option<&Self>, now: Timestamp) -> Option<Self> {
        match latest {
            Some(latest) if latest.node != self.node && latest.expires > now => None,
            Some(latest) => Some(Self {
                term: latest.term + 1,
                ..self
            }),
            None => Some(Self { term: 1, ..self }),
        }
    }

    /// Returns whether both leases stem from the same claim, so that one may be a renewal of the
    /// other.
    #[must_use]
    pub fn is_same_claim(&self, other: &Self) -> bool {
        (self.node, self.term) == (other.node, other.term)
    }

    /// Returns this lease with another time of expiry.
    #[must_use]
    pub fn until(&self, expires: Timestamp) -> Self {
        Self {
            expires,
            ..self.clone()
        }
    }
}

/// Position of a feed in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedPosition {
    /// Conversation that the position is in.
    pub conversation: ConversationId,
    /// Last event that the feed has processed; [`Seq::ZERO`] if none.
    pub cursor: Seq,
    /// Last event of the conversation.
    pub last_seq: Seq,
}

impl FeedPosition {
    /// Returns a position of these values.
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
    pub fn is_behind(&self) -> bool {
        self.cursor < self.last_seq
    }
}

/// A page of conversations in which a feed is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedBacklog {
    /// Conversations with events to process, by id.
    pub positions: Vec<FeedPosition>,
    /// Conversation to continue after; `None` at the end.
    pub next: Option<ConversationId>,
}

impl FeedBacklog {
    /// Builds the page from the positions of `limit` consecutive conversations (fewer at the end),
    /// and keeps only those of these shards.
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
    /// Returns the position of a feed in those of these conversations that exist, in any order.
    async fn feed_positions(
        &self,
        feed: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<FeedPosition>, StoreError>;

    /// Examines up to `limit` conversations with a greater id than `after`, and returns those of
    /// these shards in which the feed is behind.
    ///
    /// A node calls this to find its work after it claimed a shard, and rarely afterwards; commits
    /// and doorbells announce new events. One call reads `limit` rows, independent of the number of
    /// results.
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

/// Writes of feeds. A unit that also locks conversations does so before these calls, for example to
/// append a bot's answer and to advance the bot's cursor in one commit.
#[async_trait]
pub trait FeedTx: Send {
    /// Claims a shard for a node until `ttl` from now, by the store's clock. Returns `None` while
    /// another node holds it. A node that already holds it gets a new term, which fences off an
    /// earlier process with the same node id.
    async fn claim_feed(
        &mut self,
        feed: &str,
        shard: FeedShard,
        node: NodeId,
        ttl: Duration,
    ) -> Result<Option<FeedLease>, StoreError>;

    /// Extends a lease until `ttl` from now. Returns `None` if it was lost to another claim.
    async fn renew_feed(&mut self, lease: &FeedLease, ttl: Duration) -> Result<Option<FeedLease>, StoreError>;

    /// Ends a lease, so that another node can claim the shard at once. Does nothing if it was lost.
    async fn release_feed(&mut self, lease: &FeedLease) -> Result<(), StoreError>;

    /// Advances cursors of the feed; a smaller value changes nothing. Returns `false` if the lease
    /// was lost to another claim: then nothing was written. A lease that expired but was not
    /// claimed still counts.
    async fn advance_feed(&mut self, lease: &FeedLease, moves: &[(ConversationId, Seq)]) -> Result<bool, StoreError>;

    /// Deletes the cursors and leases of a feed. No node may work on the feed at the same time.
    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversation_has_one_shard() {
        assert_eq!(FeedShard::all().count(), usize::from(FeedShard::COUNT));
        for id in [0, 1, 15, 16, 17, u64::MAX] {
            let shard = FeedShard::of(ConversationId(id));
            assert_eq!(FeedShard::new(shard.number()), Some(shard));
        }
        assert_eq!(FeedShard::new(FeedShard::COUNT), None);
    }

    #[test]
    fn claim_waits_for_other_nodes_and_grows_the_term() {
        let [a, b] = [1, 2].map(|node| NodeId([node; 16]));
        let wish = |node| FeedLease::new("feed".into(), FeedShard(0), node, 0, Timestamp(20));
        let first = wish(a).claimed(None, Timestamp(10)).unwrap();
        assert_eq!(first.term, 1);
        assert_eq!(wish(b).claimed(Some(&first), Timestamp(19)), None);
        let again = wish(a).claimed(Some(&first), Timestamp(19)).unwrap();
        let other = wish(b).claimed(Some(&first), Timestamp(20)).unwrap();
        assert_eq!((again.term, other.term), (2, 2));
        assert!(!again.is_same_claim(&other) && again.until(Timestamp(30)).is_same_claim(&again));
    }

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
