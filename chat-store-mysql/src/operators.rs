//! Lists of accounts and groups, statistics, and the audit log, for operators.

use async_trait::async_trait;
use chat_core::model::{Account, ConversationId, MemberState, Role};
use chat_core::store::sql_support::{
    self as sql, ACCOUNT_COLUMNS, AUDIT_COLUMNS, CONVERSATION_COLUMNS, Code, SELECT_STATS, int, prefix_end,
};
use chat_core::store::{
    AuditId, AuditPage, AuditRecord, AuditTx, ListedGroup, NewAuditRecord, OperatorStore, StoreError, StoreStats,
};
use mysql_async::prelude::Queryable;

use crate::MysqlStore;
use crate::error::store_error;
use crate::rows;
use crate::tx::MysqlTx;

#[async_trait]
impl OperatorStore for MysqlStore {
    async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        let sql = format!(
            "SELECT {ACCOUNT_COLUMNS} FROM account
             WHERE name >= ? AND (? IS NULL OR name < ?) AND name > ? ORDER BY name LIMIT ?"
        );
        let end = prefix_end(prefix);
        let end = end.as_deref().map(str::as_bytes);
        let work = async {
            let mut conn = self.connections.reader().await?;
            let range = (prefix.as_bytes(), end, end, after.as_bytes(), limit);
            rows::all(conn.exec(sql, range).await.map_err(store_error)?, sql::account)
        };
        self.connections.with_deadline(work).await
    }

    async fn list_groups(&self, after: ConversationId, limit: u32) -> Result<Vec<ListedGroup>, StoreError> {
        let sql = format!(
            "SELECT {CONVERSATION_COLUMNS}, EXISTS (SELECT 1 FROM member AS m JOIN account AS a
                                            ON a.id = m.user_id AND NOT a.disabled
                                            WHERE m.conversation_id = c.id AND m.state = ? AND m.role = ?)
             FROM group_profile AS g JOIN conversation AS c ON c.id = g.conversation_id
             WHERE g.conversation_id > ? ORDER BY g.conversation_id LIMIT ?"
        );
        let values = (MemberState::Active.code(), Role::Owner.code(), int(after.0), limit);
        let work = async {
            let mut conn = self.connections.reader().await?;
            rows::all(conn.exec(sql, values).await.map_err(store_error)?, sql::listed_group)
        };
        self.connections.with_deadline(work).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        let work = async {
            let mut conn = self.connections.reader().await?;
            let row = conn.query_first(SELECT_STATS).await.map_err(store_error)?;
            Ok(rows::one(row, sql::stats)?.unwrap_or_default())
        };
        self.connections.with_deadline(work).await
    }

    async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let (condition, id, order) = match page {
            AuditPage::Newest => ("id <= ?", AuditId(u64::MAX), "DESC"),
            AuditPage::Before(id) => ("id < ?", id, "DESC"),
            AuditPage::After(id) => ("id > ?", id, "ASC"),
        };
        let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE {condition} ORDER BY id {order} LIMIT ?");
        let work = async {
            let mut conn = self.connections.reader().await?;
            let rows = conn.exec(sql, (int(id.0), limit)).await.map_err(store_error)?;
            rows::all(rows, sql::audit_record)
        };
        self.connections.with_deadline(work).await
    }
}

#[async_trait]
impl AuditTx for MysqlTx<'_> {
    async fn append_audit(&mut self, record: &NewAuditRecord) -> Result<AuditId, StoreError> {
        self.contract.before_lock_audit()?;
        // The database assigns ids before the commit. The lock of the row `audit_lock` makes the
        // records visible in the order of their ids, so that a reader that continues after the last
        // id that it has read misses no record.
        let lock =
            "INSERT INTO meta (name, value) VALUES ('audit_lock', '') ON DUPLICATE KEY UPDATE name = VALUES(name)";
        self.execute(lock, ()).await?;
        let sql = "INSERT INTO audit (time, operator, action, target, detail, source) VALUES (?, ?, ?, ?, ?, ?)";
        let values = (
            record.time.0,
            record.operator.as_bytes(),
            record.action.as_bytes(),
            record.target.as_bytes(),
            &record.detail,
            record.source.as_bytes(),
        );
        let id = self.insert(sql, values).await?;
        let duplicate = || StoreError::Defect("the database rejected an audit record as a duplicate".to_owned());
        id.map(AuditId).ok_or_else(duplicate)
    }
}
