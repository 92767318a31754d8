//! Records of the requests that were announced in inboxes.

use async_trait::async_trait;
use chat_core::model::{ConversationId, Timestamp};
use chat_core::store::sql_support::int;
use chat_core::store::{RequestNotice, RequestNoticeTx, StoreError};

use crate::tx::MysqlTx;

#[async_trait]
impl RequestNoticeTx for MysqlTx<'_> {
    async fn record_request_notice(
        &mut self,
        notice: RequestNotice,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        self.contract.before_write_request_notices(notice.inbox)?;
        let inbox = int(notice.inbox.0);
        let delete_old = "DELETE FROM request_notice WHERE inbox_id = ? AND time <= ?";
        self.execute(delete_old, (inbox, since.0)).await?;
        let sql = "INSERT INTO request_notice (inbox_id, kind, sender_id, group_id, time) VALUES (?, ?, ?, ?, ?)";
        let group = notice.group.map_or(0, |group| int(group.0));
        let values = (inbox, notice.kind as u8, int(notice.sender.0), group, now.0);
        Ok(self.execute_unique(sql, values).await?.is_some())
    }

    async fn delete_request_notice(&mut self, notice: RequestNotice) -> Result<(), StoreError> {
        self.contract.before_write_request_notices(notice.inbox)?;
        let sql = "DELETE FROM request_notice WHERE inbox_id = ? AND kind = ? AND sender_id = ? AND group_id = ?";
        let group = notice.group.map_or(0, |group| int(group.0));
        let values = (int(notice.inbox.0), notice.kind as u8, int(notice.sender.0), group);
        self.execute(sql, values).await.map(drop)
    }

    async fn delete_request_notices(&mut self, inbox: ConversationId) -> Result<(), StoreError> {
        self.contract.before_write_request_notices(inbox)?;
        let sql = "DELETE FROM request_notice WHERE inbox_id = ?";
        self.execute(sql, (int(inbox.0),)).await.map(drop)
    }
}
