//! [`MysqlTx`]: the transaction in which a job, such as a unit of work, runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};

use chat_core::model::{Conversation, ConversationId, UserId};
use chat_core::store::StoreError;
use chat_core::store::backend::TxContract;
use mysql_async::prelude::Queryable;
use mysql_async::{Error, Params, Row, Transaction};

use crate::error::{is_conflict, is_read_only, store_error};

/// An open transaction.
pub(crate) struct MysqlTx<'a> {
    pub(crate) tx: Transaction<'a>,
    /// Rejects units of work that break the rules of transactions, such as the order of locks.
    pub(crate) contract: TxContract,
    /// Current rows of the conversations that the transaction has locked or created.
    pub(crate) locked_conversations: BTreeMap<ConversationId, Conversation>,
    /// Users whose devices or memberships the transaction has written or deleted, except for moves
    /// of cursors and read marks.
    pub(crate) changed_users: BTreeSet<UserId>,
    /// True after a conflict with another transaction: the store rolls this one back, and runs its
    /// job again if the deadline of the job leaves time for that.
    pub(crate) is_in_conflict: bool,
    /// True if a statement failed because the server accepts no writes: the store closes the
    /// connection.
    pub(crate) is_server_read_only: bool,
}

impl<'a> MysqlTx<'a> {
    pub(crate) fn new(tx: Transaction<'a>) -> Self {
        Self {
            tx,
            contract: TxContract::default(),
            locked_conversations: BTreeMap::new(),
            changed_users: BTreeSet::new(),
            is_in_conflict: false,
            is_server_read_only: false,
        }
    }

    /// Maps an error, and sets [`is_in_conflict`](Self::is_in_conflict) or
    /// [`is_server_read_only`](Self::is_server_read_only) if the error means that.
    fn record_error(&mut self, error: Error) -> StoreError {
        self.is_in_conflict |= is_conflict(&error);
        self.is_server_read_only |= is_read_only(&error);
        store_error(error)
    }

    /// Runs one statement. Returns the number of rows that it inserted, deleted or matched (an
    /// UPDATE also counts rows that it left as they were, see `client_found_rows` in `options.rs`).
    /// REPLACE and INSERT … ON DUPLICATE KEY UPDATE may count a row twice.
    pub(crate) async fn execute(&mut self, sql: &str, params: impl Into<Params> + Send) -> Result<u64, StoreError> {
        let done = match self.tx.exec_iter(sql, params).await {
            Ok(result) => {
                let rows = result.affected_rows();
                result.drop_result().await.map(|()| rows)
            }
            Err(error) => Err(error),
        };
        done.map_err(|error| self.record_error(error))
    }

    /// Like [`execute`](Self::execute), but returns `None` on a duplicate key. In that case the
    /// statement has no effect, and the transaction continues.
    pub(crate) async fn execute_unique(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<Option<u64>, StoreError> {
        let done = match self.tx.exec_iter(sql, params).await {
            Ok(result) => {
                let rows = result.affected_rows();
                result.drop_result().await.map(|()| Some(rows))
            }
            Err(error) if crate::error::is_duplicate(&error) => Ok(None),
            Err(error) => Err(error),
        };
        done.map_err(|error| self.record_error(error))
    }

    /// Runs `sql`, an INSERT of events. Fails with [`StoreError::AlreadySent`] if one of them has
    /// the same sender and client message id as a stored event, or as another one of them.
    pub(crate) async fn insert_new_events(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<(), StoreError> {
        let done = match self.tx.exec_drop(sql, params).await {
            Err(error) if crate::error::is_already_sent(&error) => return Err(StoreError::AlreadySent),
            done => done,
        };
        done.map_err(|error| self.record_error(error))
    }

    /// Runs an INSERT into a table with generated ids. Returns the new id, or `None` on a duplicate
    /// key. In that case the statement has no effect, and the transaction continues.
    pub(crate) async fn insert(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<Option<u64>, StoreError> {
        let done = match self.tx.exec_iter(sql, params).await {
            Ok(result) => {
                let id = result.last_insert_id();
                result.drop_result().await.map(|()| Some(id.unwrap_or_default()))
            }
            Err(error) if crate::error::is_duplicate(&error) => Ok(None),
            Err(error) => Err(error),
        };
        done.map_err(|error| self.record_error(error))
    }

    /// Runs a query and returns its first row, or `None` if it finds none.
    pub(crate) async fn first(
        &mut self,
        sql: &str,
        params: impl Into<Params> + Send,
    ) -> Result<Option<Row>, StoreError> {
        let params = params.into();
        let found = self.tx.exec_first(sql, params).await;
        found.map_err(|error| self.record_error(error))
    }

    /// Runs a query and returns all of its rows.
    pub(crate) async fn rows(&mut self, sql: &str, params: impl Into<Params> + Send) -> Result<Vec<Row>, StoreError> {
        let params = params.into();
        let found = self.tx.exec(sql, params).await;
        found.map_err(|error| self.record_error(error))
    }

    /// Runs a statement without preparing it, because its text differs each time. Returns its rows.
    pub(crate) async fn query_unprepared(&mut self, sql: String) -> Result<Vec<Row>, StoreError> {
        let found = self.tx.query(sql).await;
        found.map_err(|error| self.record_error(error))
    }
}

impl Debug for MysqlTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlTx")
            .field("contract", &self.contract)
            .finish_non_exhaustive()
    }
}
