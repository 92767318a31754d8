//! Cursors and leases of feeds.

use std::time::Duration;

use async_trait::async_trait;
use chat_core::model::{ConversationId, NodeId, Seq, Timestamp};
use chat_core::store::sql_support::{self as sql, ColumnReader, FEED_LEASE, distinct, int, millis};
use chat_core::store::{FeedBacklog, FeedLease, FeedPosition, FeedShard, FeedStore, FeedTx, StoreError};
use mysql_async::params;
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::batch::{KEYS_AT_ONCE, integers, joined};
use crate::clock::NOW;
use crate::error::store_error;
use crate::rows;
use crate::tx::MysqlTx;

const POSITION: &str = "SELECT c.id, IFNULL(f.seq, 0), c.last_seq FROM conversation AS c
     LEFT JOIN feed_cursor AS f ON f.feed = ? AND f.conversation_id = c.id";

#[async_trait]
impl FeedStore for MysqlStore {
    async fn feed_positions(
        &self,
        feed: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<FeedPosition>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for ids in distinct(conversations).chunks(KEYS_AT_ONCE) {
                let ids = integers(ids.iter().map(|id| int(id.0)));
                let sql = format!("{POSITION} WHERE c.id IN ({ids})");
                let rows = conn.exec(sql, (feed.as_bytes(),)).await.map_err(store_error)?;
                found.extend(rows::all(rows, sql::feed_position)?);
            }
            Ok(found)
        };
        self.connections.within(work).await
    }

    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError> {
        let sql = format!("{POSITION} WHERE c.id > ? ORDER BY c.id LIMIT ?");
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (feed.as_bytes(), int(after.0), limit);
            let rows = conn.exec(sql, range).await.map_err(store_error)?;
            let scanned = rows::all(rows, sql::feed_position)?;
            Ok(FeedBacklog::of_scan(scanned, shards, limit))
        };
        self.connections.within(work).await
    }

    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError> {
        let sql = format!("SELECT {FEED_LEASE} FROM feed_lease WHERE feed = ? AND expires > {NOW}");
        let work = async {
            let mut conn = self.connections.reader().await?;
            let rows = conn.exec(sql, (feed.as_bytes(),)).await.map_err(store_error)?;
            rows::all(rows, sql::feed_lease)
        };
        self.connections.within(work).await
    }
}

impl MysqlTx<'_> {
    /// Locks a shard of a feed, and returns its latest lease, even if expired, with the database's
    /// time.
    async fn lock_lease(&mut self, feed: &str, shard: FeedShard) -> Result<(FeedLease, Timestamp), StoreError> {
        self.contract.lock_feeds()?;
        // A missing row cannot be locked.
        let insert = "INSERT INTO feed_lease (feed, shard, node_id, term, expires) VALUES (?, ?, ?, 0, 0)
                      ON DUPLICATE KEY UPDATE shard = VALUES(shard)";
        let key = (feed.as_bytes(), shard.number());
        self.execute(insert, (key.0, key.1, &[0_u8; 16][..])).await?;
        let sql = format!("SELECT {FEED_LEASE}, {NOW} FROM feed_lease WHERE feed = ? AND shard = ? FOR UPDATE");
        let row = self.first(&sql, key).await?;
        let found = rows::one(row, |columns| Ok((sql::feed_lease(columns)?, columns.time()?)))?;
        found.ok_or_else(|| StoreError::Corrupt(format!("the lease of shard {} is missing", shard.number())))
    }

    /// Locks the shard of `lease`. Returns the database's time if `lease` is the latest claim.
    async fn lock_held(&mut self, lease: &FeedLease) -> Result<Option<Timestamp>, StoreError> {
        let (latest, now) = self.lock_lease(&lease.feed, lease.shard).await?;
        Ok(latest.is_same_claim(lease).then_some(now))
    }

    async fn update_lease(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        let sql = "UPDATE feed_lease SET node_id = ?, term = ?, expires = ? WHERE feed = ? AND shard = ?";
        let values = (
            &lease.node.0[..],
            int(lease.term),
            lease.expires.0,
            lease.feed.as_bytes(),
            lease.shard.number(),
        );
        self.execute(sql, values).await.map(drop)
    }
}

#[async_trait]
impl FeedTx for MysqlTx<'_> {
    async fn claim_feed(
        &mut self,
        feed: &str,
        shard: FeedShard,
        node: NodeId,
        ttl: Duration,
    ) -> Result<Option<FeedLease>, StoreError> {
        let (latest, now) = self.lock_lease(feed, shard).await?;
        let wish = FeedLease::new(feed.to_owned(), shard, node, 0, now.plus_millis(millis(ttl)));
        let claimed = wish.claimed(Some(&latest), now);
        if let Some(lease) = &claimed {
            self.update_lease(lease).await?;
        }
        Ok(claimed)
    }

    async fn renew_feed(&mut self, lease: &FeedLease, ttl: Duration) -> Result<Option<FeedLease>, StoreError> {
        let Some(now) = self.lock_held(lease).await? else {
            return Ok(None);
        };
        let renewed = lease.until(now.plus_millis(millis(ttl)));
        self.update_lease(&renewed).await?;
        Ok(Some(renewed))
    }

    async fn release_feed(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        if self.lock_held(lease).await?.is_some() {
            self.update_lease(&lease.until(Timestamp(0))).await?;
        }
        Ok(())
    }

    async fn advance_feed(&mut self, lease: &FeedLease, moves: &[(ConversationId, Seq)]) -> Result<bool, StoreError> {
        if self.lock_held(lease).await?.is_none() {
            return Ok(false);
        }
        for moves in distinct(moves).chunks(KEYS_AT_ONCE) {
            let row = |(id, seq): &(ConversationId, Seq)| format!("(:feed,{},{})", int(id.0), int(seq.0));
            let rows = joined(moves.iter().map(row), ",");
            let sql = format!(
                "INSERT INTO feed_cursor (feed, conversation_id, seq) VALUES {rows}
                 ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))"
            );
            self.execute(&sql, params! {"feed" => lease.feed.as_bytes()}).await?;
        }
        Ok(true)
    }

    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError> {
        self.contract.lock_feeds()?;
        for sql in [
            "DELETE FROM feed_cursor WHERE feed = ?",
            "DELETE FROM feed_lease WHERE feed = ?",
        ] {
            self.execute(sql, (feed.as_bytes(),)).await?;
        }
        Ok(())
    }
}
