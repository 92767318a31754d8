//! Contacts between users, in the memory store.

use std::collections::BTreeSet;
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use super::tables::Tables;
use super::tx::MemoryTx;
use crate::model::{Contact, ContactState, Timestamp, UserId};
use crate::store::{ContactStore, ContactTx, StoreError};

impl Tables {
    fn contacts_of(&self, owner: UserId) -> impl Iterator<Item = &Contact> {
        let all = (owner, UserId(0))..=(owner, UserId(u64::MAX));
        self.contacts.range(all).map(|(_, contact)| contact)
    }

    fn contacts_after(&self, owner: UserId, after: UserId) -> impl Iterator<Item = &Contact> {
        let later = (
            Bound::Excluded((owner, after)),
            Bound::Included((owner, UserId(u64::MAX))),
        );
        self.contacts.range(later).map(|(_, contact)| contact)
    }
}

#[async_trait]
impl ContactStore for MemoryStore {
    async fn contact(&self, owner: UserId, peer: UserId) -> Result<Option<Contact>, StoreError> {
        self.read(|tables| tables.contacts.get(&(owner, peer)).cloned())
    }

    async fn contacts(&self, owner: UserId, after: UserId, limit: u32) -> Result<Vec<Contact>, StoreError> {
        self.read(|tables| {
            let later = tables.contacts_after(owner, after);
            later.take(limit as usize).cloned().collect()
        })
    }

    async fn friends(&self, owner: UserId) -> Result<Vec<UserId>, StoreError> {
        self.read(|tables| {
            let friends = tables
                .contacts_of(owner)
                .filter(|contact| contact.state == ContactState::Friend);
            friends.map(|contact| contact.peer).collect()
        })
    }

    async fn contacts_between(&self, user: UserId, peers: &[UserId]) -> Result<Vec<Contact>, StoreError> {
        let keys: BTreeSet<(UserId, UserId)> = peers.iter().flat_map(|peer| [(user, *peer), (*peer, user)]).collect();
        self.read(|tables| {
            let found = keys.iter().filter_map(|key| tables.contacts.get(key));
            found.cloned().collect()
        })
    }

    async fn related_users(&self, user: UserId, after: UserId, limit: u32) -> Result<Vec<UserId>, StoreError> {
        self.read(|tables| {
            let related = tables.contacts.keys().filter_map(|(owner, peer)| match user {
                user if user == *owner => Some(*peer),
                user if user == *peer => Some(*owner),
                _ => None,
            });
            let later: BTreeSet<UserId> = related.filter(|other| *other > after).collect();
            later.into_iter().take(limit as usize).collect()
        })
    }
}

#[async_trait]
impl ContactTx for MemoryTx<'_> {
    async fn lock_contacts(&mut self, a: UserId, b: UserId) -> Result<(Option<Contact>, Option<Contact>), StoreError> {
        self.contract.before_lock_contacts()?;
        let side = |owner, peer| self.tables.contacts.get(&(owner, peer)).cloned();
        Ok((side(a, b), side(b, a)))
    }

    async fn put_contact(&mut self, contact: &Contact) -> Result<(), StoreError> {
        let key = (contact.owner, contact.peer);
        let old = self.tables.contacts.insert(key, contact.clone());
        self.on_rollback(move |tables| match old {
            Some(old) => drop(tables.contacts.insert(key, old)),
            None => drop(tables.contacts.remove(&key)),
        });
        Ok(())
    }

    async fn delete_contact(&mut self, owner: UserId, peer: UserId) -> Result<(), StoreError> {
        if let Some(old) = self.tables.contacts.remove(&(owner, peer)) {
            self.on_rollback(move |tables| drop(tables.contacts.insert((owner, peer), old)));
        }
        Ok(())
    }

    async fn requests_since(&mut self, owner: UserId, since: Timestamp) -> Result<u32, StoreError> {
        let contacts = self.tables.contacts_of(owner);
        let count = contacts.filter(|contact| contact.state == ContactState::Requested && contact.since >= since);
        Ok(u32::try_from(count.count()).unwrap_or(u32::MAX))
    }

    async fn blocked_count(&mut self, owner: UserId) -> Result<u32, StoreError> {
        let blocked = self.tables.contacts_of(owner).filter(|contact| contact.blocked);
        Ok(u32::try_from(blocked.count()).unwrap_or(u32::MAX))
    }

    async fn incoming_request_count(&mut self, owner: UserId, max: u32) -> Result<u32, StoreError> {
        let contacts = self.tables.contacts_of(owner);
        let pending = contacts.filter(|contact| contact.state == ContactState::Pending);
        Ok(u32::try_from(pending.take(max as usize).count()).unwrap_or(u32::MAX))
    }
}
