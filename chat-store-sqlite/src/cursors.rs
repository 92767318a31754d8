//! Cursors of devices and read marks of users. The writer thread commits these writes together with
//! the units of work that wait at the same time.

use async_trait::async_trait;
use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::{CursorStore, StoreError};

use crate::SqliteStore;
use crate::job::Job;

#[async_trait]
impl CursorStore for SqliteStore {
    async fn advance_cursors(&self, moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> Result<(), StoreError> {
        self.writer.submit(Job::Cursors(moves.to_vec())).await
    }

    async fn advance_reads(&self, moves: &[(UserId, ConversationId, Seq)]) -> Result<(), StoreError> {
        self.writer.submit(Job::Reads(moves.to_vec())).await
    }
}
