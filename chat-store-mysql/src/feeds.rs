//! Cursors and leases of event feeds (see [`FeedStore`]).

use async_trait::async_trait;
use chat_core::model::{ConversationId, Seq, Timestamp};
use chat_core::store::sql_support::{
    self as sql, ColumnReader, DELETE_FEED, FEED_LEASE_COLUMNS, SELECT_FEED_POSITIONS, distinct, int,
};
use chat_core::store::{FeedBacklog, FeedLease, FeedPosition, FeedShard, FeedStore, FeedTx, StoreError};
use mysql_async::params;
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, integers, joined};
use crate::clock::NOW;
use crate::error::store_error;
use crate::rows;
use crate::tx::MysqlTx;

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
            for ids in distinct(conversations).chunks(MAX_KEYS_PER_STATEMENT) {
                let ids = integers(ids.iter().map(|id| int(id.0)));
                let sql = format!("{SELECT_FEED_POSITIONS} WHERE c.id IN ({ids})");
                let rows = conn.exec(sql, (feed.as_bytes(),)).await.map_err(store_error)?;
                found.extend(rows::all(rows, sql::feed_position)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }

    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError> {
        let sql = format!("{SELECT_FEED_POSITIONS} WHERE c.id > ? ORDER BY c.id LIMIT ?");
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (feed.as_bytes(), int(after.0), limit);
            let rows = conn.exec(sql, range).await.map_err(store_error)?;
            let scanned = rows::all(rows, sql::feed_position)?;
            Ok(FeedBacklog::of_scan(scanned, shards, limit))
        };
        self.connections.with_deadline(work).await
    }

    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError> {
        let sql = format!("SELECT {FEED_LEASE_COLUMNS} FROM feed_lease WHERE feed = ? AND expires > {NOW}");
        let work = async {
            let mut conn = self.connections.reader().await?;
            let rows = conn.exec(sql, (feed.as_bytes(),)).await.map_err(store_error)?;
            rows::all(rows, sql::feed_lease)
        };
        self.connections.with_deadline(work).await
    }
}

#[async_trait]
impl FeedTx for MysqlTx<'_> {
    async fn lock_feed_shard(
        &mut self,
        feed: &str,
        shard: FeedShard,
    ) -> Result<(Option<FeedLease>, Timestamp), StoreError> {
        self.contract.before_lock_feeds()?;
        // A missing row cannot be locked, so a row of term 0 represents a shard that no node has
        // claimed yet.
        let insert = "INSERT INTO feed_lease (feed, shard, node_id, term, expires) VALUES (?, ?, ?, 0, 0)
                      ON DUPLICATE KEY UPDATE shard = VALUES(shard)";
        let key = (feed.as_bytes(), shard.number());
        self.execute(insert, (key.0, key.1, &[0_u8; 16][..])).await?;
        let sql = format!("SELECT {FEED_LEASE_COLUMNS}, {NOW} FROM feed_lease WHERE feed = ? AND shard = ? FOR UPDATE");
        let row = self.first(&sql, key).await?;
        let found = rows::one(row, |columns| Ok((sql::feed_lease(columns)?, columns.time()?)))?;
        let missing = || StoreError::Corrupt(format!("the row of the lease of shard {} is missing", shard.number()));
        let (latest, now) = found.ok_or_else(missing)?;
        Ok((Some(latest).filter(|latest| latest.term > 0), now))
    }

    async fn put_feed_lease(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
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

    async fn advance_feed_cursors(&mut self, feed: &str, moves: &[(ConversationId, Seq)]) -> Result<(), StoreError> {
        for moves in distinct(moves).chunks(MAX_KEYS_PER_STATEMENT) {
            let row = |(id, seq): &(ConversationId, Seq)| format!("(:feed,{},{})", int(id.0), int(seq.0));
            let rows = joined(moves.iter().map(row), ",");
            let sql = format!(
                "INSERT INTO feed_cursor (feed, conversation_id, seq) VALUES {rows}
                 ON DUPLICATE KEY UPDATE seq = GREATEST(seq, VALUES(seq))"
            );
            self.execute(&sql, params! {"feed" => feed.as_bytes()}).await?;
        }
        Ok(())
    }

    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError> {
        self.contract.before_lock_feeds()?;
        for sql in DELETE_FEED {
            self.execute(sql, (feed.as_bytes(),)).await?;
        }
        Ok(())
    }
}
