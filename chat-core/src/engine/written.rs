//! What a unit of work was about to write, for whoever is not told whether it did.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::Event;
use crate::router::{UnconfirmedCommit, joined_user};
use crate::store::{Operation, Transaction};
use crate::sync::{Mutex, MutexGuard};

tokio::task_local! {
    static WRITTEN: Written;
}

/// What a unit of work appended to logs in its last run.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Arc<Mutex<Vec<UnconfirmedCommit>>>);

impl Written {
    /// The same unit of work, whose appends are noted here.
    pub(super) fn by<O: Operation>(&self, operation: O) -> Noted<O> {
        Noted {
            operation,
            written: self.clone(),
        }
    }

    /// What was noted.
    pub(super) fn take(&self) -> Vec<UnconfirmedCommit> {
        std::mem::take(&mut *self.noted())
    }

    fn noted(&self) -> MutexGuard<'_, Vec<UnconfirmedCommit>> {
        self.0.lock()
    }
}

/// Notes that these events of one conversation, ascending, are about to be written. Does nothing outside of [`Written::by`].
pub(super) fn note(events: &[Event]) {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return;
    };
    let doubt = UnconfirmedCommit {
        conversation: first.conversation,
        first_seq: first.seq,
        last_seq: last.seq,
        joined: events.iter().filter_map(joined_user).collect(),
    };
    // Fails where nobody wants to know.
    let _ = WRITTEN.try_with(|written| written.noted().push(doubt));
}

/// A unit of work, observed.
#[derive(Debug)]
pub(super) struct Noted<O> {
    operation: O,
    written: Written,
}

#[async_trait]
impl<O: Operation> Operation for Noted<O> {
    type Output = O::Output;
    type Rejection = O::Rejection;

    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<O::Output, O::Rejection> {
        self.written.noted().clear();
        WRITTEN.scope(self.written.clone(), self.operation.apply(tx)).await
    }

    fn store_error(refusal: O::Rejection) -> Result<crate::store::StoreError, O::Rejection> {
        O::store_error(refusal)
    }
}
