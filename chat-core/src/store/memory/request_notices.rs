//! Notices of requests, in the memory store.

use async_trait::async_trait;

use super::tx::MemoryTx;
use crate::model::{ConversationId, Timestamp};
use crate::store::{RequestNotice, RequestNoticeTx, StoreError};

#[async_trait]
impl RequestNoticeTx for MemoryTx<'_> {
    async fn record_request_notice(
        &mut self,
        notice: RequestNotice,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        self.contract.before_write_request_notices(notice.inbox)?;
        let of_inbox = self.tables.request_notices.entry(notice.inbox).or_default();
        let old = of_inbox.clone();
        of_inbox.retain(|_, time| *time > since);
        let is_new = !of_inbox.contains_key(&notice);
        if is_new {
            of_inbox.insert(notice, now);
        }
        self.on_rollback(move |tables| drop(tables.request_notices.insert(notice.inbox, old)));
        Ok(is_new)
    }

    async fn delete_request_notice(&mut self, notice: RequestNotice) -> Result<(), StoreError> {
        self.contract.before_write_request_notices(notice.inbox)?;
        let of_inbox = self.tables.request_notices.get_mut(&notice.inbox);
        if let Some(time) = of_inbox.and_then(|of_inbox| of_inbox.remove(&notice)) {
            self.on_rollback(move |tables| {
                tables
                    .request_notices
                    .entry(notice.inbox)
                    .or_default()
                    .insert(notice, time);
            });
        }
        Ok(())
    }

    async fn delete_request_notices(&mut self, inbox: ConversationId) -> Result<(), StoreError> {
        self.contract.before_write_request_notices(inbox)?;
        if let Some(old) = self.tables.request_notices.remove(&inbox) {
            self.on_rollback(move |tables| drop(tables.request_notices.insert(inbox, old)));
        }
        Ok(())
    }
}
