//! [`MemoryTx`]: the tables as a unit of work sees them, and the journal that undoes its writes.

use std::fmt::{self, Debug};

use super::tables::Tables;
use crate::model::{Timestamp, UserId};
use crate::store::StoreError;
use crate::store::backend::TxContract;

type Undo = Box<dyn FnOnce(&mut Tables) + Send>;

/// An open transaction. Dropping it without [`MemoryTx::commit`] undoes all its writes.
pub(super) struct MemoryTx<'a> {
    pub(super) tables: &'a mut Tables,
    pub(super) contract: TxContract,
    /// Time by the store's clock at the start of the transaction.
    pub(super) now: Timestamp,
    journal: Vec<Undo>,
}

impl<'a> MemoryTx<'a> {
    pub(super) fn new(tables: &'a mut Tables, now: Timestamp) -> Self {
        Self {
            tables,
            contract: TxContract::default(),
            now,
            journal: Vec::new(),
        }
    }

    /// Adds to the journal how to undo a write of the transaction. The caller makes the write just
    /// before or after this call.
    pub(super) fn on_rollback(&mut self, undo: impl FnOnce(&mut Tables) + Send + 'static) {
        self.journal.push(Box::new(undo));
    }

    /// Records a change of the user's devices or memberships.
    pub(super) fn record_change(&mut self, user: UserId) {
        let old = self.tables.user_changes.get(&user).copied();
        let number = old.map_or(0, |(number, _)| number) + 1;
        self.tables.user_changes.insert(user, (number, self.now));
        self.on_rollback(move |tables| match old {
            Some(old) => drop(tables.user_changes.insert(user, old)),
            None => drop(tables.user_changes.remove(&user)),
        });
    }

    /// Keeps the writes. If the row of a conversation disagrees with its log, returns an error and
    /// undoes them instead.
    pub(super) fn commit(mut self) -> Result<(), StoreError> {
        self.contract.before_commit()?;
        self.journal.clear();
        Ok(())
    }
}

impl Drop for MemoryTx<'_> {
    fn drop(&mut self) {
        while let Some(undo) = self.journal.pop() {
            undo(self.tables);
        }
    }
}

impl Debug for MemoryTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx")
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}
