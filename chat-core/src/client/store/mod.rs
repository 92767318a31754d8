//! What a client keeps between runs. A port: in memory, or in the files of a profile.

mod file;
mod forward;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use crate::model::{
    ClientMessageId, ConversationId, ConversationRef, DeviceId, DraftContent, Secret, StoreEpoch, Timestamp, UserId,
    UserInfo,
};
use crate::secure::{Fingerprint, KnownHosts};

use super::Cursor;

pub use file::FileStore;
pub use memory::MemoryStore;

/// Why what a client keeps cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientStoreError {
    /// Another process has the profile open.
    #[error("the profile {0} is in use by another process")]
    InUse(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file holds something that was not written by this program.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The pins cannot be read or written.
    #[error("known hosts: {0}")]
    KnownHosts(String),
}

/// Who this device is, and what its last login left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// This device.
    pub device: DeviceId,
    /// Who logged in last.
    pub user: Option<UserInfo>,
    /// For the next resume.
    pub session_token: Option<Secret>,
    /// For the login throttle.
    pub device_token: Option<Secret>,
    /// The history that the cursors are about.
    pub epoch: Option<StoreEpoch>,
}

impl AccountState {
    /// A device that never logged in.
    #[must_use]
    pub fn new() -> Self {
        Self {
            device: DeviceId::random(),
            user: None,
            session_token: None,
            device_token: None,
            epoch: None,
        }
    }
}

impl Default for AccountState {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that waits for its outcome.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its idempotency key.
    pub id: ClientMessageId,
    /// Where it goes.
    pub conversation: ConversationRef,
    /// What it says.
    pub content: DraftContent,
    /// When it was written.
    pub queued: Timestamp,
    /// Not to be sent after this time.
    pub deadline: Option<Timestamp>,
}

impl fmt::Debug for OutboxEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboxEntry")
            .field("id", &self.id)
            .field("conversation", &self.conversation)
            .finish_non_exhaustive()
    }
}

/// Everything that a store has.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The device.
    pub account: AccountState,
    /// What the application has acknowledged.
    pub cursors: BTreeMap<ConversationId, Cursor>,
    /// Messages without an outcome, in the order they were written in.
    pub outbox: Vec<OutboxEntry>,
    /// Names of users, as last heard.
    pub names: BTreeMap<UserId, String>,
}

/// What survives a run of the client. One process uses it at a time.
///
/// Every method is durable once it returns, unless it says otherwise: the process may be killed at any moment, and what is read afterwards is
/// what was there before or after a call, never something between.
#[async_trait]
pub trait ClientStore: fmt::Debug + Send + Sync + 'static {
    /// Everything. Called once, first. A new store makes up its device.
    async fn load(&self) -> Result<Kept, ClientStoreError>;

    /// Replaces the account.
    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError>;

    /// Replaces all cursors. May be lost with the machine's power: then events come again.
    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError>;

    /// Replaces the names. May be lost with the machine's power.
    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError>;

    /// Adds messages to the outbox.
    ///
    /// # Errors
    /// None of them is queued, as far as this process is concerned; after a crash they may be.
    async fn queue(&self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError>;

    /// Removes messages from the outbox. May be lost: a message that comes back is sent again under its id, and is known there.
    async fn settle(&self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError>;

    /// The pinned keys of servers.
    async fn known_hosts(&self) -> Result<KnownHosts, ClientStoreError>;

    /// Pins the key of a server that was met for the first time.
    ///
    /// # Errors
    /// Another key is pinned already, or it cannot be kept: the server must not be talked to.
    async fn pin(&self, host: &str, key: &Fingerprint) -> Result<(), ClientStoreError>;
}
