//! Contacts of users.

use async_trait::async_trait;
use chat_core::model::{Contact, ContactState, Timestamp, UserId};
use chat_core::store::sql_support::{self as sql, CONTACT_COLUMNS, Code, ColumnReader, distinct, int};
use chat_core::store::{ContactStore, ContactTx, StoreError};
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::batch::{MAX_KEYS_PER_STATEMENT, integers};
use crate::error::store_error;
use crate::rows;
use crate::tx::MysqlTx;

fn contact_sql() -> String {
    format!("SELECT {CONTACT_COLUMNS} FROM contact WHERE owner_id = ? AND peer_id = ?")
}

#[async_trait]
impl ContactStore for MysqlStore {
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let key = (int(owner.0), int(peer.0));
            rows::one(
                conn.exec_first(contact_sql(), key).await.map_err(store_error)?,
                sql::contact,
            )
        };
        self.connections.with_deadline(work).await
    }

    async fn contacts(&self, owner: UserId, after: UserId, limit: u32) -> Result<Vec<Contact>, StoreError> {
        let sql = format!(
            "SELECT {CONTACT_COLUMNS} FROM contact WHERE owner_id = ? AND peer_id > ? ORDER BY peer_id LIMIT ?"
        );
        let work = async {
            let mut conn = self.connections.reader().await?;
            let values = (int(owner.0), int(after.0), limit);
            rows::all(conn.exec(sql, values).await.map_err(store_error)?, sql::contact)
        };
        self.connections.with_deadline(work).await
    }

    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError> {
        let sql = "SELECT peer_id FROM contact WHERE owner_id = ? AND state = ? ORDER BY peer_id";
        let work = async {
            let mut conn = self.connections.reader().await?;
            let values = (int(owner.0), ContactState::Friend.code());
            let found: Vec<Row> = conn.exec(sql, values).await.map_err(store_error)?;
            rows::all(found, sql::user_id)
        };
        self.connections.with_deadline(work).await
    }

    async fn contacts_between(&self, user: UserId, peers: &[UserId]) -> Result<Vec<Contact>, StoreError> {
        let user = int(user.0);
        let work = async {
            let mut conn = self.connections.reader().await?;
            let mut found = Vec::new();
            for peers in distinct(peers).chunks(MAX_KEYS_PER_STATEMENT) {
                let peers = integers(peers.iter().map(|peer| int(peer.0)));
                // UNION drops the second copy of a user's contact with itself.
                let sql = format!(
                    "SELECT {CONTACT_COLUMNS} FROM contact WHERE owner_id = {user} AND peer_id IN ({peers})
                     UNION SELECT {CONTACT_COLUMNS} FROM contact WHERE peer_id = {user} AND owner_id IN ({peers})"
                );
                found.extend(rows::all(conn.query(sql).await.map_err(store_error)?, sql::contact)?);
            }
            Ok(found)
        };
        self.connections.with_deadline(work).await
    }

    async fn related_users(&self, user: UserId, after: UserId, limit: u32) -> Result<Vec<UserId>, StoreError> {
        let sql = "SELECT peer_id AS id FROM contact WHERE owner_id = ? AND peer_id > ?
                   UNION SELECT owner_id FROM contact WHERE peer_id = ? AND owner_id > ? ORDER BY id LIMIT ?";
        let (user, after) = (int(user.0), int(after.0));
        let work = async {
            let mut conn = self.connections.reader().await?;
            let found: Vec<Row> = conn
                .exec(sql, (user, after, user, after, limit))
                .await
                .map_err(store_error)?;
            rows::all(found, sql::user_id)
        };
        self.connections.with_deadline(work).await
    }
}

#[async_trait]
impl ContactTx for MysqlTx<'_> {
    async fn lock_contacts(&mut self, a: UserId, b: UserId) -> Result<(Option<Contact>, Option<Contact>), StoreError> {
        self.contract.before_lock_contacts()?;
        let sql =
            "INSERT INTO pair_lock (low_id, high_id) VALUES (?, ?) ON DUPLICATE KEY UPDATE low_id = VALUES(low_id)";
        self.execute(sql, (int(a.min(b).0), int(a.max(b).0))).await?;
        let of_a = self.first(&contact_sql(), (int(a.0), int(b.0))).await?;
        let of_b = self.first(&contact_sql(), (int(b.0), int(a.0))).await?;
        Ok((rows::one(of_a, sql::contact)?, rows::one(of_b, sql::contact)?))
    }

    async fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError> {
        let sql = format!("REPLACE INTO contact ({CONTACT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)");
        let values = (
            int(contact.owner.0),
            int(contact.peer.0),
            contact.state.code(),
            contact.blocked,
            &contact.note,
            contact.since.0,
        );
        self.execute(&sql, values).await.map(drop)
    }

    async fn delete_contact(&mut self, owner: UserId, peer: UserId) -> Result<(), StoreError> {
        let sql = "DELETE FROM contact WHERE owner_id = ? AND peer_id = ?";
        self.execute(sql, (int(owner.0), int(peer.0))).await.map(drop)
    }

    async fn requests_since(&mut self, owner: UserId, since: Timestamp) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM contact WHERE owner_id = ? AND state = ? AND since >= ?";
        let values = (int(owner.0), ContactState::Requested.code(), since.0);
        let count = rows::one(self.first(sql, values).await?, ColumnReader::count)?;
        Ok(count.unwrap_or_default())
    }

    async fn blocked_count(&mut self, owner: UserId) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM contact WHERE owner_id = ? AND blocked";
        let count = rows::one(self.first(sql, (int(owner.0),)).await?, ColumnReader::count)?;
        Ok(count.unwrap_or_default())
    }

    async fn incoming_request_count(&mut self, owner: UserId, max: u32) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM (SELECT 1 FROM contact WHERE owner_id = ? AND state = ? LIMIT ?) AS counted";
        let values = (int(owner.0), ContactState::Pending.code(), max);
        let count = rows::one(self.first(sql, values).await?, ColumnReader::count)?;
        Ok(count.unwrap_or_default())
    }
}
