//! Accounts and devices of the memory store.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use super::tables::Tables;
use super::tx::MemoryTx;
use crate::model::{Account, ConversationId, Device, DeviceId, UserId};
use crate::store::sql_support::unknown_account;
use crate::store::{AccountStore, AccountTx, NewAccount, StoreError};

impl Tables {
    fn account_by_name(&self, name: &str) -> Option<&Account> {
        self.accounts.get(self.account_names.get(name)?)
    }

    fn account_by_subject(&self, subject: &str) -> Option<&Account> {
        self.accounts.get(self.account_subjects.get(subject)?)
    }

    /// Returns the account, or the error for the update of an account that does not exist.
    fn existing_account(&self, id: UserId) -> Result<Account, StoreError> {
        self.accounts.get(&id).cloned().ok_or_else(|| unknown_account(id))
    }

    /// Inserts or replaces an account and its index entries.
    fn put_account(&mut self, account: Account) {
        let id = account.id;
        self.remove_account(id);
        self.account_names.insert(account.name.clone(), id);
        self.account_skeletons.insert(account.skeleton.clone(), id);
        if let Some(subject) = &account.subject {
            self.account_subjects.insert(subject.clone(), id);
        }
        self.accounts.insert(id, account);
    }

    /// Removes an account and its index entries, if the account exists.
    fn remove_account(&mut self, id: UserId) {
        if let Some(account) = self.accounts.remove(&id) {
            self.account_names.remove(&account.name);
            self.account_skeletons.remove(&account.skeleton);
            if let Some(subject) = &account.subject {
                self.account_subjects.remove(subject);
            }
        }
    }

    fn devices_of(&self, user: UserId) -> Vec<Device> {
        let all = (user, DeviceId([0; 16]))..=(user, DeviceId([u8::MAX; 16]));
        let mut devices: Vec<Device> = self.devices.range(all).map(|(_, device)| device.clone()).collect();
        devices.sort_by_key(|device| (device.created, device.id));
        devices
    }
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn account(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.read(|tables| tables.accounts.get(&id).cloned())
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        self.read(|tables| tables.account_by_name(name).cloned())
    }

    async fn account_by_subject(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.read(|tables| tables.account_by_subject(subject).cloned())
    }

    async fn accounts(&self, ids: &[UserId]) -> Result<Vec<Account>, StoreError> {
        self.read(|tables| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids.iter().filter_map(|id| tables.accounts.get(id)).cloned().collect()
        })
    }

    async fn search_accounts(&self, prefix: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.read(|tables| {
            with_prefix(&tables.account_names, prefix)
                .filter_map(|id| tables.accounts.get(&id))
                .filter(|account| !account.disabled)
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }

    async fn device(&self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.read(|tables| tables.devices.get(&(user, device)).cloned())
    }

    async fn devices(&self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.read(|tables| tables.devices_of(user))
    }
}

/// Returns the values in `index` whose keys begin with `prefix`, ordered by key.
pub(super) fn with_prefix<'a, T: Copy>(
    index: &'a BTreeMap<String, T>,
    prefix: &'a str,
) -> impl Iterator<Item = T> + 'a {
    index
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(_, value)| *value)
}

impl MemoryTx<'_> {
    fn replace_account(&mut self, account: Account) {
        if let Some(old) = self.tables.accounts.get(&account.id).cloned() {
            self.on_rollback(move |tables| tables.put_account(old));
        }
        self.tables.put_account(account);
    }
}

#[async_trait]
impl AccountTx for MemoryTx<'_> {
    async fn create_account(&mut self, new: NewAccount) -> Result<Option<UserId>, StoreError> {
        let subject_taken = |subject: &String| self.tables.account_subjects.contains_key(subject);
        if self.tables.account_names.contains_key(&new.name)
            || self.tables.account_skeletons.contains_key(&new.skeleton)
            || new.subject.as_ref().is_some_and(subject_taken)
        {
            return Ok(None);
        }
        self.tables.last_user += 1;
        let id = UserId(self.tables.last_user);
        self.on_rollback(move |tables| {
            tables.remove_account(id);
            tables.last_user -= 1;
        });
        self.tables.put_account(Account {
            id,
            name: new.name,
            skeleton: new.skeleton,
            display_name: new.display_name,
            password_hash: new.password_hash,
            direct_policy: new.direct_policy,
            disabled: false,
            created: new.created,
            subject: new.subject,
            deleted: None,
        });
        Ok(Some(id))
    }

    async fn account(&mut self, id: UserId) -> Result<Option<Account>, StoreError> {
        Ok(self.tables.accounts.get(&id).cloned())
    }

    async fn account_by_name(&mut self, name: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.tables.account_by_name(name).cloned())
    }

    async fn account_by_subject(&mut self, subject: &str) -> Result<Option<Account>, StoreError> {
        Ok(self.tables.account_by_subject(subject).cloned())
    }

    async fn update_account(&mut self, account: &Account) -> Result<(), StoreError> {
        let stored = self.tables.existing_account(account.id)?;
        self.replace_account(Account {
            display_name: account.display_name.clone(),
            password_hash: account.password_hash.clone(),
            direct_policy: account.direct_policy,
            disabled: account.disabled,
            deleted: account.deleted,
            ..stored
        });
        Ok(())
    }

    async fn rename_account(&mut self, id: UserId, name: &str, skeleton: &str) -> Result<bool, StoreError> {
        let stored = self.tables.existing_account(id)?;
        let holders = [
            self.tables.account_names.get(name),
            self.tables.account_skeletons.get(skeleton),
        ];
        if holders.into_iter().flatten().any(|holder| *holder != id) {
            return Ok(false);
        }
        self.replace_account(Account {
            name: name.to_owned(),
            skeleton: skeleton.to_owned(),
            ..stored
        });
        Ok(true)
    }

    async fn set_subject(&mut self, id: UserId, subject: Option<&str>) -> Result<bool, StoreError> {
        let stored = self.tables.existing_account(id)?;
        let holder = subject.and_then(|subject| self.tables.account_subjects.get(subject));
        if holder.is_some_and(|holder| *holder != id) {
            return Ok(false);
        }
        self.replace_account(Account {
            subject: subject.map(str::to_owned),
            ..stored
        });
        Ok(true)
    }

    async fn lock_device(&mut self, user: UserId, device: DeviceId) -> Result<Option<Device>, StoreError> {
        self.contract.before_lock_devices()?;
        Ok(self.tables.devices.get(&(user, device)).cloned())
    }

    async fn devices_in(&mut self, devices: &[(UserId, DeviceId)]) -> Result<Vec<Device>, StoreError> {
        let mut keys = devices.to_vec();
        keys.sort_unstable();
        keys.dedup();
        Ok(keys
            .iter()
            .filter_map(|key| self.tables.devices.get(key))
            .cloned()
            .collect())
    }

    async fn lock_devices_of(&mut self, user: UserId) -> Result<Vec<Device>, StoreError> {
        self.contract.before_lock_devices()?;
        Ok(self.tables.devices_of(user))
    }

    async fn put_device(&mut self, device: &Device) -> Result<(), StoreError> {
        let key = (device.user, device.id);
        let old = self.tables.devices.insert(key, device.clone());
        self.on_rollback(move |tables| match old {
            Some(old) => drop(tables.devices.insert(key, old)),
            None => drop(tables.devices.remove(&key)),
        });
        self.record_change(device.user);
        Ok(())
    }

    async fn delete_device(&mut self, user: UserId, device: DeviceId) -> Result<(), StoreError> {
        let Some(old) = self.tables.devices.remove(&(user, device)) else {
            return Ok(());
        };
        let all = (user, device, ConversationId(0))..=(user, device, ConversationId(u64::MAX));
        let cursors: Vec<_> = self.tables.cursors.range(all).map(|(key, seq)| (*key, *seq)).collect();
        for (key, _) in &cursors {
            self.tables.cursors.remove(key);
        }
        self.on_rollback(move |tables| {
            tables.devices.insert((user, device), old);
            tables.cursors.extend(cursors);
        });
        self.record_change(user);
        Ok(())
    }
}
