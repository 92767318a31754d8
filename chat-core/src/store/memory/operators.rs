//! Listings and statistics for operators, and the audit log, in the memory store.

use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use super::tables::{StoredConversation, Tables};
use super::tx::MemoryTx;
use crate::model::{Account, ConversationId, ConversationKind, Role, UserId};
use crate::store::{
    AuditId, AuditPage, AuditRecord, AuditTx, ListedGroup, NewAuditRecord, OperatorStore, StoreError, StoreStats,
};

impl Tables {
    /// Returns whether a group has an active owner whose account is not disabled.
    fn has_enabled_owner(&self, stored: &StoredConversation) -> bool {
        let mut owners = stored
            .members
            .values()
            .filter(|member| member.is_active() && member.role == Role::Owner);
        owners.any(|owner| self.is_enabled(owner.user))
    }

    /// Returns whether an account exists and is not disabled.
    pub(super) fn is_enabled(&self, user: UserId) -> bool {
        self.accounts.get(&user).is_some_and(|account| !account.disabled)
    }

    fn stats(&self) -> StoreStats {
        let accounts = |wanted: fn(&&Account) -> bool| self.accounts.values().filter(wanted).count() as u64;
        StoreStats {
            accounts: self.accounts.len() as u64,
            disabled_accounts: accounts(|account| account.disabled),
            deleted_accounts: accounts(|account| account.deleted.is_some()),
            devices: self.devices.len() as u64,
            conversations: self.conversations.len() as u64,
            existing_groups: self.group_keys.len() as u64,
            events: self.conversations.values().map(|stored| stored.row.last_seq.0).sum(),
            messages: self.conversations.values().map(|stored| stored.row.message_count).sum(),
        }
    }

    fn audit_record(&self, id: u64) -> Option<AuditRecord> {
        let index = usize::try_from(id.checked_sub(1)?).ok()?;
        Some(AuditRecord::new(AuditId(id), self.audit.get(index)?.clone()))
    }
}

#[async_trait]
impl OperatorStore for MemoryStore {
    async fn list_accounts(&self, prefix: &str, after: &str, limit: u32) -> Result<Vec<Account>, StoreError> {
        let start = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        self.read(|tables| {
            let names = tables.account_names.range::<str, _>((start, Bound::Unbounded));
            let matching = names.take_while(|(name, _)| name.starts_with(prefix));
            let accounts = matching.filter_map(|(_, id)| tables.accounts.get(id));
            accounts.take(limit as usize).cloned().collect()
        })
    }

    async fn list_groups(&self, after: ConversationId, limit: u32) -> Result<Vec<ListedGroup>, StoreError> {
        self.read(|tables| {
            let later = tables.conversations.range((Bound::Excluded(after), Bound::Unbounded));
            let groups = later
                .map(|(_, stored)| stored)
                .filter(|stored| stored.row.kind == ConversationKind::Group);
            let listed = groups.map(|stored| ListedGroup::new(stored.row.clone(), tables.has_enabled_owner(stored)));
            listed.take(limit as usize).collect()
        })
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        self.read(Tables::stats)
    }

    async fn audit_log(&self, page: AuditPage, limit: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(|tables| {
            let last = tables.audit.len() as u64;
            let ids: Box<dyn Iterator<Item = u64>> = match page {
                AuditPage::Newest => Box::new((1..=last).rev()),
                AuditPage::Before(id) => Box::new((1..id.0.min(last + 1)).rev()),
                AuditPage::After(id) => Box::new(id.0.saturating_add(1)..=last),
            };
            let records = ids.take(limit as usize).filter_map(|id| tables.audit_record(id));
            records.collect()
        })
    }
}

#[async_trait]
impl AuditTx for MemoryTx<'_> {
    async fn append_audit(&mut self, record: &NewAuditRecord) -> Result<AuditId, StoreError> {
        self.contract.before_lock_audit()?;
        self.tables.audit.push(record.clone());
        self.on_rollback(|tables| drop(tables.audit.pop()));
        Ok(AuditId(self.tables.audit.len() as u64))
    }
}
