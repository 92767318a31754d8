//! Accounts and devices.

use std::fmt::Debug;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Account, Device, DeviceId, DirectPolicy, Timestamp, UserId};

/// Reads of accounts and devices.
#[async_trait]
pub trait AccountStore: Debug + Send + Sync + 'static {
    /// Returns the account with this id.
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Returns the account with exactly this canonical name, compared byte by byte.
    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError>;

    /// Returns the account that is bound to exactly this external subject (the identifier by which
    /// the application knows the user), compared byte by byte.
    async fn account_by_subject(&self, subject: &str) -> Result<Option<Account>, StoreError>;

    /// Returns the accounts with these ids, in any order. Unknown ids are left out.
    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError>;

    /// Returns up to `limit` accounts that are not disabled and whose name begins with `prefix`,
    /// ordered by name. Compares bytes; no character of `prefix` is special.
    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError>;

    /// Returns one device.
    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// Returns the devices of a user, oldest first (by `created`, then by id).
    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError>;

    /// Returns those of these devices that exist, in any order, each once. A node without a bus may
    /// read more than 10,000 devices a second with this method, so a store that many nodes use
    /// should read several devices in one query. The default reads them one by one.
    async fn devices_in(&self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        let mut keys = devices.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut found = Vec::new();
        for (user, device) in keys {
            found.extend(self.device(user, device).await?);
        }
        Ok(found)
    }
}

/// An account to create.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Canonical name; unique.
    pub name: String,
    /// Form of the name that is equal for names that look alike; unique.
    pub skeleton: String,
    /// Identifier by which the application knows the user; unique, at most 255 bytes.
    pub subject: Option<String>,
    /// Name that other users see.
    pub display_name: String,
    /// Password hash as a PHC string; `None` if the account gets no password, for example because
    /// the application authenticates its users.
    pub password_hash: Option<String>,
    /// Users who may send direct messages to the new user.
    pub direct_policy: DirectPolicy,
    /// Time of creation.
    pub created: Timestamp,
}

/// Writes of accounts and devices. A transaction reads its own writes.
#[async_trait]
pub trait AccountTx: Send {
    /// Creates an account. Returns `None` if another account has its name, skeleton or subject:
    /// then nothing was written and the transaction continues.
    async fn create_account(&mut self, account: NewAccount) -> Result<Option<UserId>, StoreError>;

    /// Returns the account with this id.
    async fn account(&mut self, id: UserId) -> Result<Option<Account>, StoreError>;

    /// Returns the account with exactly this canonical name.
    async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>, StoreError>;

    /// Returns the account that is bound to exactly this external subject.
    async fn account_by_subject(&mut self, subject: &str) -> Result<Option<Account>, StoreError>;

    /// Replaces all fields of an account except `id`, `name`, `skeleton`, `subject` and `created`.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the account does not exist.
    async fn update_account(&mut self, account: &Account) -> Result<(), StoreError>;

    /// Replaces the name and skeleton of an account. Returns `false` if another account has one of
    /// them: then nothing was written and the transaction continues.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the account does not exist.
    async fn rename_account(&mut self, id: UserId, name: &str, skeleton: &str) -> Result<bool, StoreError>;

    /// Binds an account to an external subject, or removes the binding. Returns `false` if another
    /// account is bound to the subject: then nothing was written and the transaction continues.
    ///
    /// # Errors
    /// [`StoreError::Defect`]: the account does not exist.
    async fn set_subject(&mut self, id: UserId, subject: Option<&str>) -> Result<bool, StoreError>;

    /// Locks a device, whether or not it exists, and returns it.
    async fn lock_device(&mut self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError>;

    /// Returns these devices, in any order; devices that do not exist are left out. The engine
    /// checks with them that commands come from the current sessions of their devices.
    async fn devices_in(&mut self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError>;

    /// Locks and returns all devices of a user, oldest first (by `created`, then by id).
    async fn lock_devices_of(&mut self, user: UserId) -> Result<Vec<Device>, StoreError>;

    /// Inserts or replaces a device.
    async fn put_device(&mut self, device: &Device) -> Result<(), StoreError>;

    /// Deletes a device and its cursors, if it exists.
    async fn delete_device(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError>;
}
