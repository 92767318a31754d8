//! Records of the requests that were announced in inboxes.

use async_trait::async_trait;
use chat_core::model::{ConversationId, Timestamp};
use chat_core::store::sql_support::int;
use chat_core::store::{RequestNotice, RequestNoticeTx, StoreError};
use rusqlite::params;

use crate::tx::SqliteTx;

/// Deletes the records of inbox ?1 up to the time ?2.
pub(crate) const DELETE_OLD: &str = "DELETE FROM request_notice WHERE inbox_id = ?1 AND time <= ?2";

#[async_trait]
impl RequestNoticeTx for SqliteTx<'_> {
    async fn record_request_notice(
        &mut self,
        notice: RequestNotice,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        self.contract.before_write_request_notices(notice.inbox)?;
        let inbox = int(notice.inbox.0);
        self.execute(DELETE_OLD, params![inbox, since.0])?;
        let sql = "INSERT INTO request_notice (inbox_id, kind, sender_id, group_id, time) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO NOTHING";
        let group = notice.group.map_or(0, |group| int(group.0));
        let values = params![inbox, notice.kind as u8, int(notice.sender.0), group, now.0];
        Ok(self.execute(sql, values)? > 0)
    }

    async fn delete_request_notice(&mut self, notice: RequestNotice) -> Result<(), StoreError> {
        self.contract.before_write_request_notices(notice.inbox)?;
        let sql = "DELETE FROM request_notice WHERE inbox_id = ?1 AND kind = ?2 AND sender_id = ?3 AND group_id = ?4";
        let group = notice.group.map_or(0, |group| int(group.0));
        let values = params![int(notice.inbox.0), notice.kind as u8, int(notice.sender.0), group];
        self.execute(sql, values).map(drop)
    }

    async fn delete_request_notices(&mut self, inbox: ConversationId) -> Result<(), StoreError> {
        self.contract.before_write_request_notices(inbox)?;
        let sql = "DELETE FROM request_notice WHERE inbox_id = ?1";
        self.execute(sql, params![int(inbox.0)]).map(drop)
    }
}
