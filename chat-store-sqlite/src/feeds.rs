//! Cursors and leases of feeds.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chat_core::model::{ConversationId, NodeId, Seq, Timestamp};
use chat_core::store::sql_support::{FEED_LEASE, distinct, int, millis};
use chat_core::store::{FeedBacklog, FeedLease, FeedPosition, FeedShard, FeedStore, FeedTx, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::rows;
use crate::tx::SqliteTx;

/// Returns the store's time. It is the clock of this process, the only one that uses the store.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(0).plus_millis(since_epoch.map(millis).unwrap_or_default())
}

fn feed_positions(
    conn: &Connection,
    feed: &str,
    conversations: Vec<ConversationId>,
) -> rusqlite::Result<Vec<FeedPosition>> {
    let sql = "SELECT c.id, IFNULL(f.seq, 0), c.last_seq FROM conversation AS c
               LEFT JOIN feed_cursor AS f ON f.feed = ?1 AND f.conversation_id = c.id WHERE c.id = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    rows::found(conversations, |id| {
        statement
            .query_row(params![feed, int(id.0)], rows::feed_position)
            .optional()
    })
}

fn scan(conn: &Connection, feed: &str, after: ConversationId, limit: u32) -> rusqlite::Result<Vec<FeedPosition>> {
    let sql = "SELECT c.id, IFNULL(f.seq, 0), c.last_seq FROM conversation AS c
               LEFT JOIN feed_cursor AS f ON f.feed = ?1 AND f.conversation_id = c.id
               WHERE c.id > ?2 ORDER BY c.id LIMIT ?3";
    let mut statement = conn.prepare_cached(sql)?;
    let scanned = statement.query_map(params![feed, int(after.0), limit], rows::feed_position)?;
    scanned.collect()
}

fn live_leases(conn: &Connection, feed: &str) -> rusqlite::Result<Vec<FeedLease>> {
    let sql = format!("SELECT {FEED_LEASE} FROM feed_lease WHERE feed = ?1 AND expires > ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let leases = statement.query_map(params![feed, now().0], rows::feed_lease)?;
    leases.collect()
}

/// Ends all leases. Only one process can open the database, so their holder has ended.
pub(crate) fn expire_leases(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE feed_lease SET expires = 0", []).map(drop)
}

#[async_trait]
impl FeedStore for SqliteStore {
    async fn feed_positions(
        &self,
        feed: &str,
        conversations: &[ConversationId],
    ) -> Result<Vec<FeedPosition>, StoreError> {
        let (feed, conversations) = (feed.to_owned(), distinct(conversations));
        self.readers
            .read(move |conn| feed_positions(conn, &feed, conversations))
            .await
    }

    async fn feed_backlog(
        &self,
        feed: &str,
        shards: &[FeedShard],
        after: ConversationId,
        limit: u32,
    ) -> Result<FeedBacklog, StoreError> {
        let feed = feed.to_owned();
        let scanned = self.readers.read(move |conn| scan(conn, &feed, after, limit)).await?;
        Ok(FeedBacklog::of_scan(scanned, shards, limit))
    }

    async fn feed_leases(&self, feed: &str) -> Result<Vec<FeedLease>, StoreError> {
        let feed = feed.to_owned();
        self.readers.read(move |conn| live_leases(conn, &feed)).await
    }
}

impl SqliteTx<'_> {
    /// Returns the latest lease of a shard, even if it has expired.
    fn latest_lease(&self, feed: &str, shard: FeedShard) -> Result<Option<FeedLease>, StoreError> {
        let sql = format!("SELECT {FEED_LEASE} FROM feed_lease WHERE feed = ?1 AND shard = ?2");
        let key = params![feed, shard.number()];
        self.query(|conn| conn.prepare_cached(&sql)?.query_row(key, rows::feed_lease).optional())
    }

    /// Returns whether `lease` is the latest claim of its shard.
    fn holds(&self, lease: &FeedLease) -> Result<bool, StoreError> {
        let latest = self.latest_lease(&lease.feed, lease.shard)?;
        Ok(latest.is_some_and(|latest| latest.is_same_claim(lease)))
    }

    fn put_lease(&self, lease: &FeedLease) -> Result<(), StoreError> {
        let sql = format!("INSERT OR REPLACE INTO feed_lease ({FEED_LEASE}) VALUES (?1, ?2, ?3, ?4, ?5)");
        let values = params![
            lease.feed,
            lease.shard.number(),
            lease.node.0,
            int(lease.term),
            lease.expires.0
        ];
        self.execute(&sql, values).map(drop)
    }
}

#[async_trait]
impl FeedTx for SqliteTx<'_> {
    async fn claim_feed(
        &mut self,
        feed: &str,
        shard: FeedShard,
        node: NodeId,
        ttl: Duration,
    ) -> Result<Option<FeedLease>, StoreError> {
        self.contract.lock_feeds()?;
        let (latest, now) = (self.latest_lease(feed, shard)?, now());
        let requested = FeedLease::new(feed.to_owned(), shard, node, 0, now.plus_millis(millis(ttl)));
        let claimed = requested.claimed(latest.as_ref(), now);
        if let Some(lease) = &claimed {
            self.put_lease(lease)?;
        }
        Ok(claimed)
    }

    async fn renew_feed(&mut self, lease: &FeedLease, ttl: Duration) -> Result<Option<FeedLease>, StoreError> {
        self.contract.lock_feeds()?;
        if !self.holds(lease)? {
            return Ok(None);
        }
        let renewed = lease.until(now().plus_millis(millis(ttl)));
        self.put_lease(&renewed)?;
        Ok(Some(renewed))
    }

    async fn release_feed(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        self.contract.lock_feeds()?;
        if self.holds(lease)? {
            self.put_lease(&lease.until(Timestamp(0)))?;
        }
        Ok(())
    }

    async fn advance_feed(&mut self, lease: &FeedLease, moves: &[(ConversationId, Seq)]) -> Result<bool, StoreError> {
        self.contract.lock_feeds()?;
        if !self.holds(lease)? {
            return Ok(false);
        }
        let sql = "INSERT INTO feed_cursor (feed, conversation_id, seq) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET seq = ?3 WHERE seq < ?3";
        for (conversation, seq) in moves {
            self.execute(sql, params![lease.feed, int(conversation.0), int(seq.0)])?;
        }
        Ok(true)
    }

    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError> {
        self.contract.lock_feeds()?;
        self.execute("DELETE FROM feed_cursor WHERE feed = ?1", [feed])?;
        self.execute("DELETE FROM feed_lease WHERE feed = ?1", [feed]).map(drop)
    }
}
