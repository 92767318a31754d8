//! [`Operation`]: a unit of work of the engine; and [`WriteIntents`]: the record of the events that
//! it is about to append.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::error::Rejection;
use crate::model::Event;
use crate::router::{UnconfirmedCommit, joined_user};
use crate::store::{self, StoreError, Transaction};
use crate::sync::Mutex;

/// A unit of work of the engine. It takes its locks, checks permissions, and writes, all in one
/// transaction.
#[async_trait]
pub(crate) trait Operation: Debug + Send + 'static {
    /// Result of the unit of work, which the caller gets once the transaction is committed.
    type Output: Send + 'static;

    /// Executes the unit of work in the transaction `tx`. May be called again after a rollback.
    /// [`Logs::write`](super::operations::log::Logs::write) records the appended events in
    /// `intents`.
    async fn apply(&mut self, tx: &mut dyn Transaction, intents: &WriteIntents) -> Result<Self::Output, Rejection>;
}

/// A unit of work that may be run again after it was committed, because it finds its earlier
/// writes.
pub(crate) trait Idempotent: Operation + Clone {
    /// Makes the next run look for the writes of earlier runs before it writes. The engine calls
    /// this before a retry, because an earlier run may have been committed. The default does
    /// nothing: it is for units of work that look in every run.
    fn look_first(&mut self) {}
}

/// Record of the events that a unit of work is about to append to logs. If the outcome of the
/// commit is unknown, these events may be in the store.
///
/// Clones share the record, so that it can be read after the unit of work was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteIntents(Arc<Mutex<Vec<UnconfirmedCommit>>>);

impl WriteIntents {
    /// Records that these events of one conversation, in ascending order, are about to be written.
    /// Records nothing if there are none.
    pub(crate) fn record(&self, events: &[Event]) {
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            self.0.lock().push(UnconfirmedCommit {
                conversation: first.conversation,
                first_seq: first.seq,
                last_seq: last.seq,
                joined: events.iter().filter_map(joined_user).collect(),
            });
        }
    }

    /// Removes and returns the records of the last run.
    pub(super) fn take(&self) -> Vec<UnconfirmedCommit> {
        std::mem::take(&mut *self.0.lock())
    }

    fn clear(&self) {
        self.0.lock().clear();
    }
}

/// Adapter that the store runs: it passes `intents` to an [`Operation`], and clears them before
/// each run.
#[derive(Debug)]
pub(super) struct Recorded<O> {
    pub(super) operation: O,
    pub(super) intents: WriteIntents,
}

#[async_trait]
impl<O: Operation> store::TypedUnit for Recorded<O> {
    type Output = O::Output;
    type Rejection = Rejection;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<O::Output, Rejection> {
        // The store may run the work again after a rollback.
        self.intents.clear();
        self.operation.apply(tx, &self.intents).await
    }

    fn store_error(rejection: Rejection) -> Result<StoreError, Rejection> {
        rejection.into_store_error()
    }
}
