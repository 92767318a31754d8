//! Nodes that say here that they live.

use chat_core::model::{NodeId, Timestamp};
use chat_core::store::{Heartbeat, StoreError};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::error::store_error;

/// The database's time, whatever its time zone: milliseconds since 1970.
const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000";

/// Rows of nodes that have been silent for so long are deleted, in milliseconds.
const GONE: u64 = 60 * 60 * 1000;

impl MysqlStore {
    /// Takes the place of a read: a conversation that is locked must not silence a node.
    pub(crate) async fn record_heartbeat(&self, node: NodeId) -> Result<Heartbeat, StoreError> {
        let connections = &self.connections;
        let work = async {
            let mut lease = connections.reader().await?;
            heartbeat(&mut lease, node).await.map_err(store_error)
        };
        connections.within(work).await
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
    let mut some_are_gone = false;
    for (id, at, now) in rows {
        heartbeat.time = Some(Timestamp(now));
        // Not a signed difference: the database's clock may have been set back.
        let silence = u128::from(now.abs_diff(at));
        some_are_gone |= silence > u128::from(GONE);
        let other = NodeId::from_slice(&id).filter(|id| *id != node);
        if silence <= Heartbeat::PEER_TIMEOUT.as_millis() {
            heartbeat.peers.extend(other);
        }
    }
    if some_are_gone {
        let delete = format!("DELETE FROM node WHERE ABS({NOW} - heartbeat) > {GONE}");
        conn.query_drop(delete).await?;
    }
    Ok(heartbeat)
}
