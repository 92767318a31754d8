//! Accounts and devices.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Account, Device, DeviceId, DirectPolicy, Timestamp, UserId};

/// Reads of accounts and devices.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// The account of this id.
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// The account of exactly this canonical name, compared byte by byte.
    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError>;

    /// Those of these accounts that exist, in any order.
    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError>;

    /// Up to `limit` accounts that are not disabled and whose name begins with `prefix` (byte by byte; no character in
    /// it is special), by name.
    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// One device.
    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// A user's devices, oldest first (by `created`, then by id).
    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError>;
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Canonical, unique.
    pub name: String,
    /// Unique too.
    pub skeleton: String,
    /// What people see.
    pub display_name: String,
    /// PHC string.
    pub password_hash: Option<String>,
    /// Who may write.
    pub direct_policy: DirectPolicy,
    /// Now.
    pub created: Timestamp,
}

/// Writes of accounts and devices. Whatever a transaction wrote, it also reads.
#[async_trait]
pub trait AccountTx: Send {
    /// Makes an account; `None` if its name or skeleton is taken (then nothing was written and the transaction goes on).
    async fn create_account(&mut self, account: NewAccount) -> Result<Option<UserId>, StoreError>;

    /// The account of this id.
    async fn account(&mut self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// The account of exactly this canonical name.
    async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>, StoreError>;

    /// Replaces everything but `id`, `name`, `skeleton` and `created` of an existing account; [`StoreError::Corrupt`] if
    /// there is none.
    async fn update_account(&mut self, account: &Account) -> Result<(), StoreError>;

    /// Locks a device, whether or not it exists yet, and reads it.
    async fn lock_device(&mut self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// Those of these devices that exist, in any order: the fence of a batch.
    async fn devices_in(&mut self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError>;

    /// Locks and reads all devices of a user, oldest first (by `created`, then by id).
    async fn devices_of(&mut self, user: UserId) -> Result<Vec<Device>, StoreError>;

    /// Inserts or replaces a device.
    async fn put_device(&mut self, device: &Device) -> Result<(), StoreError>;

    /// Deletes a device and its cursors, if it exists.
    async fn delete_device(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError>;
}
