//! A unit of work's view of the database.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use chat_core::model::{Conversation, ConversationId};
use chat_core::store::{StoreError, TxContract};
use rusqlite::{Connection, Params};

use crate::error::store_error;

/// An open transaction. Everything in it happens at once on the writer's thread: its futures are always ready.
pub(crate) struct SqliteTx<'a> {
    /// Exclusive, because shared connections cannot move between threads and a transaction must be able to.
    conn: &'a mut Connection,
    pub(crate) contract: TxContract,
    /// Rows of locked conversations, as they are stored now.
    pub(crate) rows: BTreeMap<ConversationId, Conversation>,
    /// Whether text was erased: then the write-ahead log is to be cleared too.
    pub(crate) erased: bool,
}

impl<'a> SqliteTx<'a> {
    pub(crate) fn new(conn: &'a mut Connection) -> Self {
        Self {
            conn,
            contract: TxContract::default(),
            rows: BTreeMap::new(),
            erased: false,
        }
    }

    /// Looks something up.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.look_as(look, store_error)
    }

    /// As [`look`](Self::look), with other words for what fails.
    pub(crate) fn look_as<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        failed: impl FnOnce(rusqlite::Error) -> StoreError,
    ) -> Result<T, StoreError> {
        if self.conn.is_autocommit() {
            // SQLite rolled it back by itself, and would now commit every statement alone.
            return Err(StoreError::unavailable("the transaction is over"));
        }
        look(self.conn).map_err(failed)
    }

    /// Runs one statement; says how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.look(|conn| conn.prepare_cached(sql)?.execute(params))
    }
}

impl Debug for SqliteTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx")
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}
