//! Listings and statistics for operators, and the audit log of their actions.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Account, Conversation, ConversationId, Timestamp};

/// A group in a listing for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedGroup {
    /// Row of the group.
    pub conversation: Conversation,
    /// True if the group has an active owner whose account is not disabled. An existing group
    /// without such an owner is orphaned.
    pub has_enabled_owner: bool,
}

impl ListedGroup {
    /// Returns a listed group with this row and this value of `has_enabled_owner`.
    #[must_use]
    pub const fn new(conversation: Conversation, has_enabled_owner: bool) -> Self {
        Self {
            conversation,
            has_enabled_owner,
        }
    }
}

/// Numbers of rows in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StoreStats {
    /// Accounts, disabled and deleted ones included.
    pub accounts: u64,
    /// Disabled accounts, deleted ones included.
    pub disabled_accounts: u64,
    /// Accounts that are deleted.
    pub deleted_accounts: u64,
    /// Devices of all users.
    pub devices: u64,
    /// Conversations of every kind, deleted groups included.
    pub conversations: u64,
    /// Groups that are not deleted.
    pub existing_groups: u64,
    /// Events in all logs.
    pub events: u64,
    /// Messages in all logs.
    pub messages: u64,
}

/// Position of a record in the audit log. Grows with each record; there may be gaps. A record
/// becomes visible after all records with smaller ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct AuditId(pub u64);

/// An action of an operator, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct NewAuditRecord {
    /// Time of the action.
    #[cfg_attr(feature = "serde", serde(rename = "time_ms"))]
    pub time: Timestamp,
    /// Name of the operator who acted.
    pub operator: String,
    /// Kind of action, such as `account.disable`.
    pub action: String,
    /// Object of the action, such as `user:17`.
    pub target: String,
    /// Parameters of the action in words. Must not contain secrets.
    pub detail: String,
    /// Source of the request: an address, a host name or a program.
    pub source: String,
}

/// A recorded action of an operator. Records are never changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AuditRecord {
    /// Position in the log.
    pub id: AuditId,
    /// The action that was recorded.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub record: NewAuditRecord,
}

impl AuditRecord {
    /// Returns the record at this position.
    #[must_use]
    pub const fn new(id: AuditId, record: NewAuditRecord) -> Self {
        Self { id, record }
    }
}

/// Start and direction of a page of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditPage {
    /// Newest records, newest first.
    Newest,
    /// Records before this one, newest first.
    Before(AuditId),
    /// Records after this one, oldest first. `AuditId(0)` starts at the oldest record.
    After(AuditId),
}

/// Reads for operators.
#[async_trait]
pub trait OperatorStore: Debug + Send + Sync + 'static {
    /// Returns up to `limit` accounts whose name begins with `prefix` and is greater than `after`,
    /// ordered by name, disabled and deleted accounts included. Reads up to `limit` rows of an
    /// index.
    async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Returns up to `limit` groups with a greater id than `after`, ordered by id, including
    /// deleted groups. Callers filter orphaned groups themselves, so that the cost of a page is
    /// bounded: it reads `limit` groups, and of each group the members up to the first owner whose
    /// account is not disabled.
    async fn list_groups(&self, after: ConversationId, limit: u32) -> Result<Vec<ListedGroup>, StoreError>;

    /// Counts rows. Reads all accounts, devices and conversations, or indexes of them, so it suits
    /// a request of an operator, but not a frequent probe.
    async fn stats(&self) -> Result<StoreStats, StoreError>;

    /// Returns up to `limit` records of the audit log.
    async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;
}

/// Writes to the audit log, in the transaction of the action that they record.
#[async_trait]
pub trait AuditTx: Send {
    /// Locks the log until the transaction ends, and appends a record. The lock makes records
    /// become visible in the order of their ids. The strings may have at most 255 bytes, `detail`
    /// 64 KiB less one byte.
    async fn append_audit(&mut self, record: &NewAuditRecord) -> Result<AuditId, StoreError>;
}
