//! Contacts: relations between pairs of users, such as friendships and blocks.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Contact, Timestamp, UserId};

/// Reads of contacts. Each side of a relation is a row of its own; a side that has neither a state
/// nor a block has no row.
#[async_trait]
pub trait ContactStore: Debug + Send + Sync + 'static {
    /// Returns `owner`'s contact with `peer`.
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError>;

    /// Returns up to `limit` contacts of `owner` with peers greater than `after`, ordered by peer.
    async fn contacts(&self, owner: UserId, after: UserId, limit: u32) -> Result<Vec<Contact>, StoreError>;

    /// Returns the ids of `owner`'s friends, ascending.
    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError>;

    /// Returns the contacts of `user` with these peers and those of the peers with `user`, in any
    /// order. Takes time for these peers only, however many contacts the users have.
    async fn contacts_between(&self, user: UserId, peers: &[UserId]) -> Result<Vec<Contact>, StoreError>;

    /// Returns up to `limit` users with a greater id than `after` who have a contact with `user` on
    /// either side, ascending.
    async fn related_users(&self, user: UserId, after: UserId, limit: u32) -> Result<Vec<UserId>, StoreError>;
}

/// Writes of contacts.
#[async_trait]
pub trait ContactTx: Send {
    /// Locks the pair of users, whether or not the rows exist, and returns `a`'s contact with `b`
    /// and `b`'s contact with `a`.
    async fn lock_contacts(&mut self, a: UserId, b: UserId) -> Result<(Option<Contact>, Option<Contact>), StoreError>;

    /// Inserts or replaces one contact.
    async fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError>;

    /// Deletes one contact, if it exists.
    async fn delete_contact(&mut self, owner: UserId, peer: UserId) -> Result<(), StoreError>;

    /// Returns the number of `owner`'s contacts in the state `Requested` whose last change was at
    /// or after `since`. The limit on open friend requests uses it.
    async fn requests_since(&mut self, owner: UserId, since: Timestamp) -> Result<u32, StoreError>;

    /// Returns the number of users whom `owner` has blocked. The limit on blocked users uses it.
    async fn blocked_count(&mut self, owner: UserId) -> Result<u32, StoreError>;

    /// Returns the number of `owner`'s contacts in the state `Pending`, but at most `max`: a store
    /// stops counting there. The limit on incoming friend requests uses it.
    async fn incoming_request_count(&mut self, owner: UserId, max: u32) -> Result<u32, StoreError>;
}
