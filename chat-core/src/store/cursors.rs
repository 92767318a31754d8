//! Cursors of devices and read marks of users. Both only grow: a smaller value changes nothing.
//!
//! These writes are not units of work: callers batch them, and a crash that loses the latest ones
//! only repeats deliveries and lets read messages count as unread.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{ConversationId, DeviceId, Seq, UserId};

/// Cursors of devices, the delivered marks that they move, and the read marks of users.
#[async_trait]
pub trait CursorStore: Debug + Send + Sync + 'static {
    /// Advances cursors of devices, and with each cursor the `delivered_seq` of its user. A number
    /// beyond the last event that the user may read counts as that event. Ignores users who were
    /// never a member of the conversation, and devices that do not exist. Durable once this
    /// returns `Ok`.
    async fn advance_cursors(&self, moves: &[(UserId, DeviceId, ConversationId, Seq)]) -> Result<(), StoreError>;

    /// Advances the `read_seq` of users, with the same rules as
    /// [`advance_cursors`](Self::advance_cursors). Durable once this returns `Ok`.
    async fn advance_reads(&self, moves: &[(UserId, ConversationId, Seq)]) -> Result<(), StoreError>;
}
