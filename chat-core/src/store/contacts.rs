//! Relations between users.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Contact, UserId};

/// Reads of relations.
#[async_trait]
pub trait ContactStore: Debug + Send + Sync + 'static {
    /// `owner`'s side of the relation to `peer`.
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError>;

    /// Everything on `owner`'s side, by peer.
    async fn contacts(&self, owner: UserId) -> Result<Vec<Contact>, StoreError>;

    /// Ids of `owner`'s friends, ascending.
    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError>;
}

/// Writes of relations.
#[async_trait]
pub trait ContactTx: Send {
    /// Locks the pair, whether or not either row exists, and reads (`a`'s side, `b`'s side).
    async fn lock_contacts(&mut self, a: UserId, b: UserId) -> Result<(Option<Contact>, Option<Contact>), StoreError>;

    /// Inserts or replaces one side.
    async fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError>;

    /// Deletes one side, if it exists.
    async fn delete_contact(&mut self, owner: UserId, peer: UserId) -> Result<(), StoreError>;

    /// How many rows `owner` has in the states `Requested` with `since` at or after this time: for rate limits.
    async fn requests_since(&mut self, owner: UserId, since: crate::model::Timestamp) -> Result<u32, StoreError>;
}
