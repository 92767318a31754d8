//! Implementation of [`ClientStore`] for an [`Arc`] of a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::{AccountState, ClientStore, ClientStoreError, KnownGroups, OutboxEntry, SavedState};
use crate::client::Cursor;
use crate::model::{ClientMessageId, ConversationId, UserId};
use crate::secure::{Fingerprint, KnownHosts};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: ClientStore + ?Sized> ClientStore for Arc<S> {
    async fn load(&self) -> Result<SavedState, ClientStoreError> {
        S::load(self).await
    }

    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        S::save_account(self, account).await
    }

    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError> {
        S::save_cursors(self, cursors).await
    }

    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError> {
        S::save_names(self, names).await
    }

    async fn save_groups(&self, groups: &KnownGroups) -> Result<(), ClientStoreError> {
        S::save_groups(self, groups).await
    }

    async fn queue(&self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError> {
        S::queue(self, entries).await
    }

    async fn settle(&self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError> {
        S::settle(self, ids).await
    }

    async fn known_hosts(&self) -> Result<KnownHosts, ClientStoreError> {
        S::known_hosts(self).await
    }

    async fn record_authority(&self, host: &str) -> Result<(), ClientStoreError> {
        S::record_authority(self, host).await
    }

    async fn pin(&self, host: &str, key: &Fingerprint) -> Result<(), ClientStoreError> {
        S::pin(self, host, key).await
    }
}
