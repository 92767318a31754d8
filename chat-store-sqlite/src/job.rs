//! Jobs of the writer thread.

use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::backend::run_inline;
use chat_core::store::{StoreError, TxError, Unit};
use rusqlite::Connection;

use crate::cursor_sql;
use crate::error::store_error;
use crate::tx::SqliteTx;

/// Job of the writer thread. It runs in a transaction that it may share with other jobs.
#[derive(Debug)]
pub(crate) enum Job {
    /// A unit of work of the engine.
    Unit(Box<dyn Unit>),
    /// Moves of cursors of devices: each device of a user acknowledged the events of the
    /// conversation up to this sequence number.
    Cursors(Vec<(UserId, DeviceId, ConversationId, Seq)>),
    /// Moves of read marks of users: each user has read the conversation up to this sequence
    /// number.
    Reads(Vec<(UserId, ConversationId, Seq)>),
}

impl Job {
    /// Does the work in the open transaction of `conn`. Sets `has_erased_text` if it erased text.
    /// The writer may call this again after a rollback.
    pub(crate) fn run(&mut self, conn: &mut Connection, has_erased_text: &mut bool) -> Result<(), StoreError> {
        match self {
            Self::Unit(unit) => {
                let mut tx = SqliteTx::new(conn);
                let result = match run_inline(&mut **unit, &mut tx) {
                    Ok(()) => tx.contract.before_commit(),
                    Err(TxError::Abort) => Err(StoreError::Aborted),
                    Err(TxError::Store(error)) => Err(error),
                };
                *has_erased_text |= tx.has_erased_text;
                result
            }
            Self::Cursors(moves) => cursor_sql::advance_cursors(conn, moves).map_err(store_error),
            Self::Reads(moves) => cursor_sql::advance_reads(conn, moves).map_err(store_error),
        }
    }
}
