//! [`ClientStore`], the port (an interface that the application may implement) for the state that a
//! client keeps between runs. Implemented here in memory and in the files of a profile.

#[cfg(feature = "client")]
mod file;
mod forward;
mod memory;
#[cfg(test)]
#[cfg(feature = "client")]
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

#[cfg(feature = "client")]
pub use file::FileStore;
pub use memory::MemoryStore;

/// Error of a [`ClientStore`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientStoreError {
    /// Another process, or another store of this process, has the profile open.
    #[error("the profile {0} is in use; end the process that uses it, or use another profile")]
    InUse(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file is damaged, or was written by another program or a later version.
    #[error("{path}: {problem}")]
    Damaged {
        /// Path of the file.
        path: String,
        /// Description of the problem.
        problem: String,
    },
    /// The pinned keys could not be read or written, or they forbid to pin the key: another key of
    /// the server is pinned, or the server has proved itself by a certificate before.
    #[error("known hosts: {0}")]
    KnownHosts(String),
}

/// Identity of this device, and the result of its last login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// Id of this device.
    pub device: DeviceId,
    /// User of the last login.
    pub user: Option<UserInfo>,
    /// Token that resumes the session; `None` if the device has to log in.
    pub session_token: Option<Secret>,
    /// Token by which the server's login throttle recognises this device.
    pub device_token: Option<Secret>,
    /// True if the tokens were obtained over `plain://`. Other tokens are never sent over it.
    pub tokens_are_from_plain: bool,
    /// Store epoch of the last login, which the cursors belong to; `None` before the first login.
    pub store_epoch: Option<StoreEpoch>,
}

impl AccountState {
    /// Returns the state of a device that never logged in.
    #[must_use]
    pub fn new() -> Self {
        Self {
            device: DeviceId::random(),
            user: None,
            session_token: None,
            device_token: None,
            tokens_are_from_plain: false,
            store_epoch: None,
        }
    }
}

impl Default for AccountState {
    fn default() -> Self {
        Self::new()
    }
}

/// A message of the outbox.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Idempotency key of the message.
    pub id: ClientMessageId,
    /// Conversation that the message goes to.
    pub conversation: ConversationRef,
    /// Name of the conversation, by which it is found in another store epoch; `None` if the client
    /// does not know the name.
    pub name: Option<ConversationRef>,
    /// Store epoch that ids and message numbers in `conversation` and `content` belong to; `None`
    /// if the message was enqueued before the device's first login, or by a version that did not
    /// store the epoch.
    pub store_epoch: Option<StoreEpoch>,
    /// Content of the message.
    pub content: DraftContent,
    /// Time when the message was enqueued.
    pub queued_at: Timestamp,
    /// Time after which the message is no longer sent.
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

/// Everything that a store holds except its knowledge about servers
/// ([`known_hosts`](ClientStore::known_hosts)).
#[derive(Clone, Debug, Default)]
pub struct SavedState {
    /// The device, its user and its tokens.
    pub account: AccountState,
    /// Acknowledged position of each conversation.
    pub cursors: BTreeMap<ConversationId, Cursor>,
    /// Messages without an outcome, in the order in which they were enqueued.
    pub outbox: Vec<OutboxEntry>,
    /// Last known names of users.
    pub names: BTreeMap<UserId, String>,
    /// Last known groups of the user.
    pub groups: KnownGroups,
}

/// Names of the groups that the user is in. With them, a message to a group is addressed by the
/// group's id also before the first login of a run, so that the message arrives in that group even
/// if the group is renamed before the login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownGroups {
    /// Store epoch that the ids belong to. In another epoch, the groups are not used.
    pub store_epoch: Option<StoreEpoch>,
    /// Name of each group.
    pub names: BTreeMap<ConversationId, String>,
}

/// Stores the state that survives a run of the client. One process uses it at a time.
///
/// Unless the documentation of a method says otherwise, what it stores is durable once it returns,
/// and a process that is killed at any time leaves the state before or after the call, never a
/// mixture.
#[async_trait]
pub trait ClientStore: fmt::Debug + Send + Sync + 'static {
    /// Loads the saved state. A client calls this once, when it starts. An empty store returns the
    /// state of a new device, and keeps that device.
    async fn load(&self) -> Result<SavedState, ClientStoreError>;

    /// Replaces the account.
    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError>;

    /// Replaces all cursors. The new cursors may be lost in a power failure; events are then
    /// delivered again. Only an empty map must be durable once this returns: it is saved when the
    /// server's store epoch has changed, and cursors of the former epoch must not reappear.
    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError>;

    /// Replaces all names. The new names may be lost in a power failure.
    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError>;

    /// Replaces all groups. The new groups may be lost in a power failure.
    async fn save_groups(&self, groups: &KnownGroups) -> Result<(), ClientStoreError>;

    /// Adds messages to the outbox. If the process is killed before this returns, some of them may
    /// be in the outbox.
    ///
    /// # Errors
    /// The messages could not be stored. This process treats none of them as queued, but after a
    /// crash some of them may be in the outbox.
    async fn queue(&self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError>;

    /// Removes messages from the outbox. A crash may undo this; a message that reappears is sent
    /// again under its id, by which the server recognises it.
    async fn settle(&self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError>;

    /// Loads the pinned keys of servers, and the servers that have proved themselves by a
    /// certificate.
    async fn known_hosts(&self) -> Result<KnownHosts, ClientStoreError>;

    /// Records that a server has proved itself by a certificate of a trusted authority, so that it
    /// is refused without one from now on. `host` is `name:port`.
    ///
    /// # Errors
    /// The proof cannot be recorded. The client must send nothing to the server.
    async fn record_authority(&self, host: &str) -> Result<(), ClientStoreError>;

    /// Pins the key of a server. Does nothing if the key is pinned already. `host` is `name:port`.
    ///
    /// # Errors
    /// Another key is pinned, the server has proved itself by a certificate before, or the key
    /// cannot be stored. The client must send nothing to the server.
    async fn pin(&self, host: &str, key: &Fingerprint) -> Result<(), ClientStoreError>;
}
