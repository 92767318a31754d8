//! Work of one transaction.

use chat_core::model::{ConversationId, DeviceId, Seq, UserId};
use chat_core::store::backend::run_catching;
use chat_core::store::{TxError, Unit};

use crate::tx::MysqlTx;

/// Acknowledgement of a conversation by a device of a user, up to a sequence number.
pub(crate) type Acked = (UserId, DeviceId, ConversationId, Seq);
/// Read mark of a user in a conversation.
pub(crate) type Read = (UserId, ConversationId, Seq);

/// Work of one transaction.
#[derive(Debug)]
pub(crate) enum Job {
    /// A unit of work of the engine.
    Unit(Box<dyn Unit>),
    /// Cursors of devices to advance.
    Cursors(Vec<Acked>),
    /// Read marks of users to advance.
    Reads(Vec<Read>),
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
