//! [`RequestNotice`], and the records of which requests were announced in which inboxes. With the
//! records, the engine announces a repeated request at most once within
//! `EngineConfig::repeated_request_interval`, unless the record of the earlier announcement was
//! deleted since.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{ConversationId, EventKind, Timestamp, UserId};

/// A request that an event in an inbox announces to the owner of the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestNotice {
    /// Inbox of the user to whom the request is announced.
    pub inbox: ConversationId,
    /// Kind of the event that announces the request.
    pub kind: EventKind,
    /// User who made the request.
    pub sender: UserId,
    /// Group that the request concerns, if any.
    pub group: Option<ConversationId>,
}

/// Writes of request notices.
#[async_trait]
pub trait RequestNoticeTx: Send {
    /// Records that `notice` is announced at `now`, unless it was announced after `since`. Returns
    /// whether it was recorded. Deletes the records of the inbox whose time is `since` or earlier.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the inbox is not locked.
    async fn record_request_notice(
        &mut self,
        notice: RequestNotice,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Deletes the record of a notice, if there is one, so that the same request is announced
    /// again.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the inbox is not locked.
    async fn delete_request_notice(&mut self, notice: RequestNotice) -> Result<(), StoreError>;

    /// Deletes all records of an inbox.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the inbox is not locked.
    async fn delete_request_notices(&mut self, inbox: ConversationId) -> Result<(), StoreError>;
}
