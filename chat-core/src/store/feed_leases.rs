//! Shards and leases of event feeds, and the writes that a lease permits.
//!
//! Only the holder of a shard's lease can advance cursors in the shard. A lease expires by the
//! store's clock, so another node can claim the shard of a node that has stopped.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use super::sql_support::millis;
use crate::model::{ConversationId, NodeId, Seq, Timestamp};

/// One of the 16 parts of a feed. Each conversation belongs to one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedShard(u16);

impl FeedShard {
    /// Number of shards of every feed, and so the maximum number of nodes that work on one feed at
    /// the same time. It is fixed, because nodes that divide a feed differently would process
    /// events twice.
    pub(crate) const COUNT: u16 = 16;

    /// Returns the shard with this number, or `None` if it is 16 or more.
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
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// Returns the number of the shard.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Exclusive right of one node to work on a shard of a feed, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeedLease {
    /// Name of the feed.
    pub feed: String,
    /// Shard that the node may work on.
    pub shard: FeedShard,
    /// Node that holds the lease.
    pub node: NodeId,
    /// Fencing token: grows each time a node claims the shard, and starts again at 1 after the feed
    /// was deleted. A node with another term than the latest has lost the lease.
    pub term: u64,
    /// Time at which the lease expires unless renewed, by the store's clock.
    pub expires: Timestamp,
}

impl FeedLease {
    /// Returns a lease with these values.
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

    /// Returns the lease that a claim at `now` yields, given the latest lease of the shard, or
    /// `None` if another node holds the shard.
    fn claimed(self, latest: Option<&Self>, now: Timestamp) -> Option<Self> {
        match latest {
            Some(latest) if latest.node != self.node && latest.expires > now => None,
            Some(latest) => Some(Self {
                term: latest.term + 1,
                ..self
            }),
            None => Some(Self { term: 1, ..self }),
        }
    }

    /// Returns whether both leases, which must be of the same shard, stem from the same claim, so
    /// that one may be a renewal of the other.
    #[must_use]
    pub fn is_same_claim(&self, other: &Self) -> bool {
        (self.node, self.term) == (other.node, other.term)
    }

    /// Returns this lease with another time of expiry.
    fn until(&self, expires: Timestamp) -> Self {
        Self {
            expires,
            ..self.clone()
        }
    }
}

/// Writes of feeds. The store locks, reads and writes; [`FeedTxExt`] decides which node may claim a
/// shard and advance a cursor. A unit that also locks conversations must lock them before it calls
/// these methods. For example, one unit may append a bot's answer and advance the bot's cursor.
#[async_trait]
pub trait FeedTx: Send {
    /// Locks a shard of a feed until the end of the transaction. Returns its latest lease, even if
    /// that has expired, and the time by the store's clock. The lease is `None` if the shard was
    /// never claimed, or the feed was deleted since.
    async fn lock_feed_shard(
        &mut self,
        feed: &str,
        shard: FeedShard,
    ) -> Result<(Option<FeedLease>, Timestamp), StoreError>;

    /// Writes the latest lease of a shard, which the transaction has locked.
    async fn put_feed_lease(&mut self, lease: &FeedLease) -> Result<(), StoreError>;

    /// Advances cursors of a feed in a shard that the transaction has locked; a smaller value
    /// changes nothing.
    async fn advance_feed_cursors(&mut self, feed: &str, moves: &[(ConversationId, Seq)]) -> Result<(), StoreError>;

    /// Deletes the cursors and leases of a feed. The caller makes sure that no node works on the
    /// feed at the same time.
    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError>;
}

/// The rules of leases, on the transactions of every store.
#[async_trait]
pub trait FeedTxExt: FeedTx {
    /// Claims a shard for a node until `ttl` from now, by the store's clock. Returns `None` while
    /// another node holds it. A node that already holds it gets a new term, which fences off an
    /// earlier process with the same node id.
    async fn claim_feed(
        &mut self,
        feed: &str,
        shard: FeedShard,
        node: NodeId,
        ttl: Duration,
    ) -> Result<Option<FeedLease>, StoreError> {
        let (latest, now) = self.lock_feed_shard(feed, shard).await?;
        let requested = FeedLease::new(feed.to_owned(), shard, node, 0, now.plus_millis(millis(ttl)));
        let claimed = requested.claimed(latest.as_ref(), now);
        if let Some(lease) = &claimed {
            self.put_feed_lease(lease).await?;
        }
        Ok(claimed)
    }

    /// Extends a lease until `ttl` from now, even if it has expired. Returns `None` if it was lost
    /// to another claim, or the feed was deleted.
    async fn renew_feed(&mut self, lease: &FeedLease, ttl: Duration) -> Result<Option<FeedLease>, StoreError> {
        let Some(now) = self.lock_held_feed(lease).await? else {
            return Ok(None);
        };
        let renewed = lease.until(now.plus_millis(millis(ttl)));
        self.put_feed_lease(&renewed).await?;
        Ok(Some(renewed))
    }

    /// Ends a lease, so that another node can claim the shard at once. Does nothing if the lease
    /// was lost to another claim, or the feed was deleted.
    async fn release_feed(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        if self.lock_held_feed(lease).await?.is_some() {
            self.put_feed_lease(&lease.until(Timestamp(0))).await?;
        }
        Ok(())
    }

    /// Advances cursors of the feed; a smaller value changes nothing. Returns `false` if the lease
    /// was lost to another claim, or the feed was deleted: then nothing was written. A lease that
    /// has expired still counts until a node claims the shard.
    async fn advance_feed(&mut self, lease: &FeedLease, moves: &[(ConversationId, Seq)]) -> Result<bool, StoreError> {
        let is_held = self.lock_held_feed(lease).await?.is_some();
        if is_held {
            self.advance_feed_cursors(&lease.feed, moves).await?;
        }
        Ok(is_held)
    }

    /// Locks the shard of a lease. Returns the store's time if the lease is still the latest of its
    /// shard.
    #[doc(hidden)]
    async fn lock_held_feed(&mut self, lease: &FeedLease) -> Result<Option<Timestamp>, StoreError> {
        let (latest, now) = self.lock_feed_shard(&lease.feed, lease.shard).await?;
        let is_held = latest.is_some_and(|latest| latest.is_same_claim(lease));
        Ok(is_held.then_some(now))
    }
}

impl<T: FeedTx + ?Sized> FeedTxExt for T {}

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
    fn claim_respects_the_lease_of_another_node_and_grows_the_term() {
        let [a, b] = [1, 2].map(|node| NodeId([node; 16]));
        let request = |node| FeedLease::new("feed".into(), FeedShard(0), node, 0, Timestamp(20));
        let first = request(a).claimed(None, Timestamp(10)).unwrap();
        assert_eq!(first.term, 1);
        assert_eq!(request(b).claimed(Some(&first), Timestamp(19)), None);
        let again = request(a).claimed(Some(&first), Timestamp(19)).unwrap();
        let other = request(b).claimed(Some(&first), Timestamp(20)).unwrap();
        assert_eq!((again.term, other.term), (2, 2));
        assert!(!again.is_same_claim(&other) && again.until(Timestamp(30)).is_same_claim(&again));
    }
}
