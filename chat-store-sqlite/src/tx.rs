//! [`SqliteTx`]: the transaction that a unit of work gets.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use chat_core::model::{Conversation, ConversationId};
use chat_core::store::StoreError;
use chat_core::store::backend::TxContract;
use rusqlite::{Connection, Params};

use crate::error::store_error;

/// An open transaction on the writer thread. Its methods block, so their futures complete at the
/// first poll.
pub(crate) struct SqliteTx<'a> {
    /// An exclusive reference: a transaction must be `Send`, and a shared reference to a connection
    /// is not.
    conn: &'a mut Connection,
    /// Rejects units of work that break the rules of transactions, such as the order of locks.
    pub(crate) contract: TxContract,
    /// Current rows of the conversations that the transaction has locked or created.
    pub(crate) locked_conversations: BTreeMap<ConversationId, Conversation>,
    /// True if the transaction erased text, so that the writer clears the write-ahead log too.
    pub(crate) has_erased_text: bool,
}

impl<'a> SqliteTx<'a> {
    pub(crate) fn new(conn: &'a mut Connection) -> Self {
        Self {
            conn,
            contract: TxContract::default(),
            locked_conversations: BTreeMap::new(),
            has_erased_text: false,
        }
    }

    /// Runs statements, which may read or write, and returns their result.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], without running them, if SQLite has rolled the transaction
    /// back. Otherwise the error of the statements.
    pub(crate) fn query<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.query_mapping_errors(run, store_error)
    }

    /// Runs statements like [`query`](Self::query), but converts their error with `map_error`.
    pub(crate) fn query_mapping_errors<T>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
        map_error: impl FnOnce(rusqlite::Error) -> StoreError,
    ) -> Result<T, StoreError> {
        if self.conn.is_autocommit() {
            // SQLite has rolled the transaction back by itself, for example on a full disk, and
            // would commit every further statement on its own.
            return Err(StoreError::unavailable("SQLite rolled the transaction back"));
        }
        run(self.conn).map_err(map_error)
    }

    /// Runs one statement and returns the number of rows that it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize, StoreError> {
        self.query(|conn| conn.prepare_cached(sql)?.execute(params))
    }
}

impl Debug for SqliteTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx")
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}
