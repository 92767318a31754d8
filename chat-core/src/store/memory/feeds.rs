//! Cursors and leases of feeds (named consumers of events), in the memory store.

use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use super::tables::Tables;
use super::tx::MemoryTx;
use crate::model::{ConversationId, Seq, Timestamp};
use crate::store::sql_support::distinct;
use crate::store::{FeedBacklog, FeedLease, FeedPosition, FeedShard, FeedStore, FeedTx, StoreError};

impl Tables {
    fn feed_position(&self, feed: &str, conversation: ConversationId) -> Option<FeedPosition> {
        let last_seq = self.conversations.get(&conversation)?.row.last_seq;
        let cursors = self.feed_cursors.get(feed);
        let cursor = cursors.and_then(|cursors| cursors.get(&conversation)).copied();
        Some(FeedPosition::new(conversation, cursor.unwrap_or(Seq::ZERO), last_seq))
    }
}

#[async_trait]
impl FeedStore for MemoryStore {
    async fn feed_positions(
        &self,
        feed: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<FeedPosition>, StoreError> {
        let conversations = distinct(conversations);
        self.read(|tables| {
            let positions = conversations.iter().map(|id| tables.feed_position(feed, *id));
            positions.flatten().collect()
        })
    }

    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError> {
        self.read(|tables| {
            let later = tables.conversations.range((Bound::Excluded(after), Bound::Unbounded));
            let scanned = later
                .take(limit as usize)
                .filter_map(|(id, _)| tables.feed_position(feed, *id));
            FeedBacklog::of_scan(scanned.collect(), shards, limit)
        })
    }

    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError> {
        let now = self.now();
        self.read(|tables| {
            let leases = tables.feed_leases.values();
            let live = leases.filter(|lease| lease.feed == feed && lease.expires > now);
            live.cloned().collect()
        })
    }
}

#[async_trait]
impl FeedTx for MemoryTx<'_> {
    async fn lock_feed_shard(
        &mut self,
        feed: &str,
        shard: FeedShard,
    ) -> Result<(Option<FeedLease>, Timestamp), StoreError> {
        self.contract.before_lock_feeds()?;
        let latest = self.tables.feed_leases.get(&(feed.to_owned(), shard));
        Ok((latest.cloned(), self.now))
    }

    async fn put_feed_lease(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        let key = (lease.feed.clone(), lease.shard);
        let old = self.tables.feed_leases.insert(key.clone(), lease.clone());
        self.on_rollback(move |tables| match old {
            Some(old) => drop(tables.feed_leases.insert(key, old)),
            None => drop(tables.feed_leases.remove(&key)),
        });
        Ok(())
    }

    async fn advance_feed_cursors(&mut self, feed: &str, moves: &[(ConversationId, Seq)]) -> Result<(), StoreError> {
        for (conversation, seq) in moves.iter().copied() {
            let cursors = self.tables.feed_cursors.entry(feed.to_owned()).or_default();
            let old = cursors.get(&conversation).copied();
            if old.is_some_and(|old| old >= seq) {
                continue;
            }
            cursors.insert(conversation, seq);
            let feed = feed.to_owned();
            self.on_rollback(move |tables| {
                let Some(cursors) = tables.feed_cursors.get_mut(&feed) else {
                    return;
                };
                match old {
                    Some(old) => drop(cursors.insert(conversation, old)),
                    None => drop(cursors.remove(&conversation)),
                }
            });
        }
        Ok(())
    }

    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError> {
        self.contract.before_lock_feeds()?;
        let cursors = self.tables.feed_cursors.remove(feed);
        let keys = FeedShard::all().map(|shard| (feed.to_owned(), shard));
        let leases: Vec<FeedLease> = keys.filter_map(|key| self.tables.feed_leases.remove(&key)).collect();
        let feed = feed.to_owned();
        self.on_rollback(move |tables| {
            for lease in leases {
                tables.feed_leases.insert((lease.feed.clone(), lease.shard), lease);
            }
            if let Some(cursors) = cursors {
                tables.feed_cursors.insert(feed, cursors);
            }
        });
        Ok(())
    }
}
