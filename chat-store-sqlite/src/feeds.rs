//! Cursors and leases of event feeds (see [`FeedStore`]).

use async_trait::async_trait;
use chat_core::clock::{Clock as _, SystemClock};
use chat_core::model::{ConversationId, Seq, Timestamp};
use chat_core::store::sql_support::{DELETE_FEED, FEED_LEASE_COLUMNS, SELECT_FEED_POSITIONS, distinct, int};
use chat_core::store::{FeedBacklog, FeedLease, FeedPosition, FeedShard, FeedStore, FeedTx, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::rows;
use crate::tx::SqliteTx;

/// Returns the store's time: that of this process, because no other process writes to the store.
fn now() -> Timestamp {
    SystemClock.now()
}

fn feed_positions(
    conn: &Connection,
    feed: &str,
    conversations: Vec<ConversationId>,
) -> rusqlite::Result<Vec<FeedPosition>> {
    let mut statement = conn.prepare_cached(&format!("{SELECT_FEED_POSITIONS} WHERE c.id = ?"))?;
    rows::find_each(conversations, |id| {
        statement
            .query_row(params![feed, int(id.0)], rows::feed_position)
            .optional()
    })
}

fn scan(conn: &Connection, feed: &str, after: ConversationId, limit: u32) -> rusqlite::Result<Vec<FeedPosition>> {
    let sql = format!("{SELECT_FEED_POSITIONS} WHERE c.id > ? ORDER BY c.id LIMIT ?");
    let mut statement = conn.prepare_cached(&sql)?;
    let scanned = statement.query_map(params![feed, int(after.0), limit], rows::feed_position)?;
    scanned.collect()
}

fn live_leases(conn: &Connection, feed: &str) -> rusqlite::Result<Vec<FeedLease>> {
    let sql = format!("SELECT {FEED_LEASE_COLUMNS} FROM feed_lease WHERE feed = ?1 AND expires > ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let leases = statement.query_map(params![feed, now().0], rows::feed_lease)?;
    leases.collect()
}

/// Ends all leases when the store opens. Only one store at a time has the data directory locked, so
/// the store whose node held the leases is closed.
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

#[async_trait]
impl FeedTx for SqliteTx<'_> {
    async fn lock_feed_shard(
        &mut self,
        feed: &str,
        shard: FeedShard,
    ) -> Result<(Option<FeedLease>, Timestamp), StoreError> {
        self.contract.before_lock_feeds()?;
        let sql = format!("SELECT {FEED_LEASE_COLUMNS} FROM feed_lease WHERE feed = ?1 AND shard = ?2");
        let key = params![feed, shard.number()];
        let latest = self.query(|conn| conn.prepare_cached(&sql)?.query_row(key, rows::feed_lease).optional())?;
        Ok((latest, now()))
    }

    async fn put_feed_lease(&mut self, lease: &FeedLease) -> Result<(), StoreError> {
        let sql = format!("INSERT OR REPLACE INTO feed_lease ({FEED_LEASE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)");
        let values = params![
            lease.feed,
            lease.shard.number(),
            lease.node.0,
            int(lease.term),
            lease.expires.0
        ];
        self.execute(&sql, values).map(drop)
    }

    async fn advance_feed_cursors(&mut self, feed: &str, moves: &[(ConversationId, Seq)]) -> Result<(), StoreError> {
        let sql = "INSERT INTO feed_cursor (feed, conversation_id, seq) VALUES (?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET seq = ?3 WHERE seq < ?3";
        for (conversation, seq) in moves {
            self.execute(sql, params![feed, int(conversation.0), int(seq.0)])?;
        }
        Ok(())
    }

    async fn delete_feed(&mut self, feed: &str) -> Result<(), StoreError> {
        self.contract.before_lock_feeds()?;
        for sql in DELETE_FEED {
            self.execute(sql, [feed])?;
        }
        Ok(())
    }
}
