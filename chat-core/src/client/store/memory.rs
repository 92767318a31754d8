//! A store in memory: for tests, and for bots that use a new device in each run.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::client::Cursor;
use crate::model::{ClientMessageId, ConversationId, UserId};
use crate::secure::{Fingerprint, KnownHosts, KnownHostsError, format_authority, format_pin};
use crate::sync::Mutex;

use super::{AccountState, ClientStore, ClientStoreError, KnownGroups, OutboxEntry, SavedState};

/// [`ClientStore`] in memory. Nothing in it survives the process. It keeps its state until it is
/// dropped, so that a test can restart a client on it.
#[derive(Debug, Default)]
pub struct MemoryStore {
    saved: Mutex<SavedState>,
    /// Pinned keys, and hosts that proved themselves by a certificate, in the format of the
    /// `known_hosts` file.
    known_hosts: Mutex<String>,
}

impl MemoryStore {
    /// Returns the store of a new device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, change: impl FnOnce(&mut SavedState) -> T) -> T {
        change(&mut self.saved.lock())
    }
}

#[async_trait]
impl ClientStore for MemoryStore {
    async fn load(&self) -> Result<SavedState, ClientStoreError> {
        Ok(self.with(|saved| saved.clone()))
    }

    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        self.with(|saved| saved.account = account.clone());
        Ok(())
    }

    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError> {
        self.with(|saved| saved.cursors = cursors.clone());
        Ok(())
    }

    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError> {
        self.with(|saved| saved.names = names.clone());
        Ok(())
    }

    async fn save_groups(&self, groups: &KnownGroups) -> Result<(), ClientStoreError> {
        self.with(|saved| saved.groups = groups.clone());
        Ok(())
    }

    async fn queue(&self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError> {
        self.with(|saved| saved.outbox.extend_from_slice(entries));
        Ok(())
    }

    async fn settle(&self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError> {
        self.with(|saved| saved.outbox.retain(|entry| !ids.contains(&entry.id)));
        Ok(())
    }

    async fn known_hosts(&self) -> Result<KnownHosts, ClientStoreError> {
        let text = self.known_hosts.lock();
        KnownHosts::parse(&text).map_err(|error| ClientStoreError::KnownHosts(error.to_string()))
    }

    async fn record_authority(&self, host: &str) -> Result<(), ClientStoreError> {
        let failed = |error: KnownHostsError| ClientStoreError::KnownHosts(error.to_string());
        let line = format_authority(host).map_err(failed)?;
        let mut text = self.known_hosts.lock();
        if !KnownHosts::parse(&text).map_err(failed)?.is_certified(host) {
            text.push_str(&line);
            text.push('\n');
        }
        Ok(())
    }

    async fn pin(&self, host: &str, key: &Fingerprint) -> Result<(), ClientStoreError> {
        let failed = |error: KnownHostsError| ClientStoreError::KnownHosts(error.to_string());
        let line = format_pin(host, key, "").map_err(failed)?;
        let mut text = self.known_hosts.lock();
        let known = KnownHosts::parse(&text).map_err(failed)?;
        if known.needs_pin(host, key).map_err(failed)? {
            text.push_str(&line);
            text.push('\n');
        }
        Ok(())
    }
}
