//! Heartbeats of the nodes that use the database.

use chat_core::model::{NodeId, Timestamp};
use chat_core::store::{Heartbeat, StoreError};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::clock::NOW;
use crate::error::{OpenError, store_error};
use crate::migrate;

/// Age of a heartbeat above which the row of its node is deleted, in milliseconds.
const MAX_AGE_MS: u64 = 60 * 60 * 1000;

/// Reason for which a store rejects all requests.
const NEW_EPOCH: &str = "the database got a new epoch after this node had opened it; restart the node";

impl MysqlStore {
    /// Records a heartbeat, and returns the other live nodes and the time of the database. Deletes
    /// the rows of nodes that have been silent for more than [`MAX_AGE_MS`]. Uses a connection for
    /// reads, because units of work that wait for a lock may occupy all connections for writes.
    ///
    /// If the database has got a new epoch since the store was opened, rejects this and all later
    /// requests. That can happen before the node's first heartbeat, or after a long time without
    /// heartbeats: see [`require_no_node`].
    pub(crate) async fn record_heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        let connections = &self.connections;
        let work = async {
            let mut conn = connections.reader().await?;
            let epoch = migrate::stored_value(&mut conn, "epoch").await;
            let epoch = epoch.map_err(store_error)?;
            // A database that is being restored may have none for a moment.
            let epoch = epoch.ok_or_else(|| StoreError::unavailable("the database has no epoch"))?;
            if epoch != self.epoch.0 {
                tracing::error!("{NEW_EPOCH}");
                connections.reject_requests(NEW_EPOCH);
                return Err(StoreError::unavailable(NEW_EPOCH));
            }
            heartbeat(&mut conn, node).await.map_err(store_error)
        };
        connections.with_deadline(work).await
    }
}

/// Fails with [`OpenError::InUse`] if a node that uses the database is alive: if its last heartbeat
/// is at most [`Heartbeat::PEER_TIMEOUT`] old.
pub(crate) async fn require_no_node(conn: &mut Conn) -> Result<(), OpenError> {
    let max_age = Heartbeat::PEER_TIMEOUT.as_millis();
    let sql = format!("SELECT COUNT(*) FROM node WHERE ABS({NOW} - heartbeat) <= {max_age}");
    let nodes: Option<u64> = conn.query_first(sql).await.map_err(OpenError::from_driver)?;
    match nodes.unwrap_or_default() {
        0 => Ok(()),
        nodes => Err(OpenError::InUse { nodes }),
    }
}

async fn heartbeat(conn: &mut Conn, node: NodeId) -> mysql_async::Result<Heartbeat> {
    conn.exec_drop(
        format!(
            "INSERT INTO node (id, heartbeat) VALUES (?, {NOW}) ON DUPLICATE KEY UPDATE heartbeat = VALUES(heartbeat)"
        ),
        (&node.0[..],),
    )
    .await?;
    let rows: Vec<(Vec<u8>, i64, i64)> = conn.exec(format!("SELECT id, heartbeat, {NOW} FROM node"), ()).await?;
    let mut heartbeat = Heartbeat::default();
    let mut has_old_rows = false;
    for (id, at, now) in rows {
        heartbeat.time = Some(Timestamp(now));
        // The age is an absolute difference, because the clock of the database may have been set
        // back.
        let age = u128::from(now.abs_diff(at));
        has_old_rows |= age > u128::from(MAX_AGE_MS);
        let other = NodeId::try_from(&*id).ok().filter(|id| *id != node);
        if age <= Heartbeat::PEER_TIMEOUT.as_millis() {
            heartbeat.peers.extend(other);
        }
    }
    if has_old_rows {
        let delete = format!("DELETE FROM node WHERE ABS({NOW} - heartbeat) > {MAX_AGE_MS}");
        conn.query_drop(delete).await?;
    }
    Ok(heartbeat)
}
