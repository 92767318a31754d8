//! Store methods for operators: listings, statistics, and the audit log.

use async_trait::async_trait;
use chat_core::model::{Account, ConversationId, MemberState, Role};
use chat_core::store::sql_support::{
    ACCOUNT_COLUMNS, AUDIT_COLUMNS, CONVERSATION_COLUMNS, Code, SELECT_STATS, int, prefix_end,
};
use chat_core::store::{
    AuditId, AuditPage, AuditRecord, AuditTx, ListedGroup, NewAuditRecord, OperatorStore, StoreError, StoreStats,
};
use rusqlite::{Connection, params};

use crate::SqliteStore;
use crate::rows;
use crate::tx::SqliteTx;

fn list_accounts(conn: &Connection, prefix: &str, after: &str, limit: u32) -> rusqlite::Result<Vec<Account>> {
    let sql = format!(
        "SELECT {ACCOUNT_COLUMNS} FROM account
         WHERE name >= ?1 AND (?2 IS NULL OR name < ?2) AND name > ?3 ORDER BY name LIMIT ?4"
    );
    let range = params![prefix, prefix_end(prefix), after, limit];
    conn.prepare_cached(&sql)?.query_map(range, rows::account)?.collect()
}

fn list_groups(conn: &Connection, after: ConversationId, limit: u32) -> rusqlite::Result<Vec<ListedGroup>> {
    let sql = format!(
        "SELECT {CONVERSATION_COLUMNS}, EXISTS (SELECT 1 FROM member AS m JOIN account AS a
                                        ON a.id = m.user_id AND NOT a.disabled
                                        WHERE m.conversation_id = c.id AND m.state = ?3 AND m.role = ?4)
         FROM group_profile AS g JOIN conversation AS c ON c.id = g.conversation_id
         WHERE g.conversation_id > ?1 ORDER BY g.conversation_id LIMIT ?2"
    );
    let values = params![int(after.0), limit, MemberState::Active.code(), Role::Owner.code()];
    let mut statement = conn.prepare_cached(&sql)?;
    let groups = statement.query_map(values, rows::listed_group)?;
    groups.collect()
}

fn audit_log(conn: &Connection, page: AuditPage, limit: u32) -> rusqlite::Result<Vec<AuditRecord>> {
    let (condition, id, order) = match page {
        AuditPage::Newest => ("id <= ?1", AuditId(u64::MAX), "DESC"),
        AuditPage::Before(id) => ("id < ?1", id, "DESC"),
        AuditPage::After(id) => ("id > ?1", id, "ASC"),
    };
    let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE {condition} ORDER BY id {order} LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let records = statement.query_map(params![int(id.0), limit], rows::audit_record)?;
    records.collect()
}

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.readers
            .read(move |conn| list_accounts(conn, &prefix, &after, limit))
            .await
    }

    async fn list_groups(&self, after: ConversationId, limit: u32) -> Result<Vec<ListedGroup>, StoreError> {
        self.readers.read(move |conn| list_groups(conn, after, limit)).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        let stats = |conn: &Connection| conn.prepare_cached(SELECT_STATS)?.query_row([], rows::stats);
        self.readers.read(stats).await
    }

    async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.readers.read(move |conn| audit_log(conn, page, limit)).await
    }
}

#[async_trait]
impl AuditTx for SqliteTx<'_> {
    async fn append_audit(&mut self, record: &NewAuditRecord) -> Result<AuditId, StoreError> {
        self.contract.before_lock_audit()?;
        let sql = "INSERT INTO audit (time, operator, action, target, detail, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![
            record.time.0,
            record.operator,
            record.action,
            record.target,
            record.detail,
            record.source
        ];
        let id = self.query(|conn| conn.prepare_cached(sql)?.insert(values))?;
        Ok(AuditId(id.unsigned_abs()))
    }
}
