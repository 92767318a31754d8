//! Contacts of users.

use async_trait::async_trait;
use chat_core::model::{Contact, ContactState, Timestamp, UserId};
use chat_core::store::sql_support::{CONTACT_COLUMNS, Code, distinct, int};
use chat_core::store::{ContactStore, ContactTx, StoreError};
use rusqlite::{Connection, OptionalExtension, params};

use crate::SqliteStore;
use crate::rows;
use crate::tx::SqliteTx;

/// Counts the contacts of a user in a state, up to a maximum.
pub(crate) const COUNT_IN_STATE: &str =
    "SELECT COUNT(*) FROM (SELECT 1 FROM contact WHERE owner_id = ?1 AND state = ?2 LIMIT ?3)";

pub(crate) fn contact_sql() -> String {
    format!("SELECT {CONTACT_COLUMNS} FROM contact WHERE owner_id = ?1 AND peer_id = ?2")
}

fn contact(conn: &Connection, owner: UserId, peer: UserId) -> rusqlite::Result<Option<Contact>> {
    let mut statement = conn.prepare_cached(&contact_sql())?;
    statement
        .query_row([int(owner.0), int(peer.0)], rows::contact)
        .optional()
}

pub(crate) fn contacts_sql() -> String {
    format!("SELECT {CONTACT_COLUMNS} FROM contact WHERE owner_id = ?1 AND peer_id > ?2 ORDER BY peer_id LIMIT ?3")
}

fn contacts(conn: &Connection, owner: UserId, after: UserId, limit: u32) -> rusqlite::Result<Vec<Contact>> {
    conn.prepare_cached(&contacts_sql())?
        .query_map(params![int(owner.0), int(after.0), limit], rows::contact)?
        .collect()
}

fn friends(conn: &Connection, owner: UserId) -> rusqlite::Result<Vec<UserId>> {
    let sql = "SELECT peer_id FROM contact WHERE owner_id = ?1 AND state = ?2 ORDER BY peer_id";
    let mut statement = conn.prepare_cached(sql)?;
    let values = params![int(owner.0), ContactState::Friend.code()];
    let peers = statement.query_map(values, rows::user_id)?;
    peers.collect()
}

fn contacts_between(conn: &Connection, user: UserId, peers: &[UserId]) -> rusqlite::Result<Vec<Contact>> {
    let sql = contact_sql();
    let mut statement = conn.prepare_cached(&sql)?;
    let sides: Vec<_> = peers.iter().flat_map(|peer| [(user, *peer), (*peer, user)]).collect();
    let mut found = Vec::new();
    for (owner, peer) in distinct(&sides) {
        found.extend(
            statement
                .query_row([int(owner.0), int(peer.0)], rows::contact)
                .optional()?,
        );
    }
    Ok(found)
}

fn related_users(conn: &Connection, user: UserId, after: UserId, limit: u32) -> rusqlite::Result<Vec<UserId>> {
    let sql = "SELECT peer_id AS id FROM contact WHERE owner_id = ?1 AND peer_id > ?2
               UNION SELECT owner_id FROM contact WHERE peer_id = ?1 AND owner_id > ?2 ORDER BY id LIMIT ?3";
    let mut statement = conn.prepare_cached(sql)?;
    let related = statement.query_map(params![int(user.0), int(after.0), limit], rows::user_id)?;
    related.collect()
}

#[async_trait]
impl ContactStore for SqliteStore {
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError> {
        self.readers.read(move |conn| contact(conn, owner, peer)).await
    }

    async fn contacts(&self, owner: UserId, after: UserId, limit: u32) -> Result<Vec<Contact>, StoreError> {
        self.readers.read(move |conn| contacts(conn, owner, after, limit)).await
    }

    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError> {
        self.readers.read(move |conn| friends(conn, owner)).await
    }

    async fn contacts_between(&self, user: UserId, peers: &[UserId]) -> Result<Vec<Contact>, StoreError> {
        let peers = peers.to_vec();
        self.readers
            .read(move |conn| contacts_between(conn, user, &peers))
            .await
    }

    async fn related_users(&self, user: UserId, after: UserId, limit: u32) -> Result<Vec<UserId>, StoreError> {
        self.readers
            .read(move |conn| related_users(conn, user, after, limit))
            .await
    }
}

#[async_trait]
impl ContactTx for SqliteTx<'_> {
    async fn lock_contacts(&mut self, a: UserId, b: UserId) -> Result<(Option<Contact>, Option<Contact>), StoreError> {
        self.contract.before_lock_contacts()?;
        self.query(|conn| Ok((contact(conn, a, b)?, contact(conn, b, a)?)))
    }

    async fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError> {
        let sql = format!("INSERT OR REPLACE INTO contact ({CONTACT_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
        let values = params![
            int(contact.owner.0),
            int(contact.peer.0),
            contact.state.code(),
            contact.blocked,
            contact.note,
            contact.since.0
        ];
        self.execute(&sql, values).map(drop)
    }

    async fn delete_contact(&mut self, owner: UserId, peer: UserId) -> Result<(), StoreError> {
        let sql = "DELETE FROM contact WHERE owner_id = ?1 AND peer_id = ?2";
        self.execute(sql, [int(owner.0), int(peer.0)]).map(drop)
    }

    async fn requests_since(&mut self, owner: UserId, since: Timestamp) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM contact WHERE owner_id = ?1 AND state = ?2 AND since >= ?3";
        let values = params![int(owner.0), ContactState::Requested.code(), since.0];
        self.query(|conn| conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)))
    }

    async fn blocked_count(&mut self, owner: UserId) -> Result<u32, StoreError> {
        let sql = "SELECT COUNT(*) FROM contact WHERE owner_id = ?1 AND blocked";
        self.query(|conn| conn.prepare_cached(sql)?.query_row([int(owner.0)], |row| row.get(0)))
    }

    async fn incoming_request_count(&mut self, owner: UserId, max: u32) -> Result<u32, StoreError> {
        let values = params![int(owner.0), ContactState::Pending.code(), max];
        self.query(|conn| conn.prepare_cached(COUNT_IN_STATE)?.query_row(values, |row| row.get(0)))
    }
}
