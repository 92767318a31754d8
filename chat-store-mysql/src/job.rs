//! Work of one transaction.

use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::backend::run_catching;
use chat_core::store::{TxError, Unit};

use crate::tx::MysqlTx;

/// Move of the cursor of a user's device in a conversation: the device acknowledged the events up
/// to this sequence number.
pub(crate) type CursorMove = (UserId, DeviceId, ConversationId, Seq);
/// Move of the read mark of a user in a conversation to this sequence number.
pub(crate) type ReadMove = (UserId, ConversationId, Seq);

/// Work of one transaction.
#[derive(Debug)]
pub(crate) enum Job {
    /// A unit of work of the engine.
    Unit(Box<dyn Unit>),
    /// Moves of cursors of devices.
    Cursors(Vec<CursorMove>),
    /// Moves of read marks of users.
    Reads(Vec<ReadMove>),
}

impl Job {
    /// Does the work in `tx`. May be called again after a rollback.
    pub(crate) async fn run(&mut self, tx: &mut MysqlTx<'_>) -> Result<(), TxError> {
        match self {
            Self::Unit(unit) => run_catching(&mut **unit, tx).await,
            Self::Cursors(moves) => Ok(tx.advance_cursors(moves).await?),
            Self::Reads(moves) => Ok(tx.advance_reads(moves).await?),
        }
    }
}
