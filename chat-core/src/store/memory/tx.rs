//! A unit of work's view of the tables, and how to take its writes back.

use std::fmt::{self, Debug};

use super::tables::Tables;
use crate::store::{StoreError, TxContract};

type Undo = Box<dyn FnOnce(&mut Tables) + Send>;

/// An open transaction. Dropping it without [`MemoryTx::commit`] takes back all that it wrote.
pub(super) struct MemoryTx<'a> {
    pub(super) tables: &'a mut Tables,
    pub(super) contract: TxContract,
    journal: Vec<Undo>,
}

impl<'a> MemoryTx<'a> {
    pub(super) fn new(tables: &'a mut Tables) -> Self {
        Self {
            tables,
            contract: TxContract::default(),
            journal: Vec::new(),
        }
    }

    /// Says how to take back a write that was just made.
    pub(super) fn undo(&mut self, undo: impl FnOnce(&mut Tables) + Send + 'static) {
        self.journal.push(Box::new(undo));
    }

    /// Keeps what was written, if the contract is in order.
    pub(super) fn commit(mut self) -> Result<(), StoreError> {
        self.contract.check()?;
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
