//! How far devices have got and users have read. Monotone: a smaller place changes nothing. These writes are not units
//! of work: they are batched, and losing the last of them in a crash only repeats deliveries.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{ConversationId, DeviceId, Seq, UserId};

/// Cursors of devices, and the delivered and read marks they move.
#[async_trait]
pub trait CursorStore: Debug + Send + Sync + 'static {
    /// Moves cursors of devices up, and with each the user's `delivered_seq`. Ignored are places beyond the last one that
    /// the user may read, users who may read nothing of the conversation, and devices that do not exist. Durable once
    /// this returns.
    async fn advance_cursors(&self, moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> Result<(), StoreError>;

    /// Moves users' `read_seq` up. Ignores what [`CursorStore::advance_cursors`] ignores. Durable once this returns.
    async fn advance_reads(&self, moves: &[(UserId, ConversationId, Seq)]) -> Result<(), StoreError>;
}
