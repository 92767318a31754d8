//! Units of work, typed.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Store, StoreError, Transaction, TxError};

/// A unit of work as a store sees it: object-safe, without a result. Applications write [`Operation`]s.
#[async_trait]
pub trait Unit: Debug + Send + 'static {
    /// Does the work. May be called again after a rollback.
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError>;
}

/// A unit of work with a result, or a reason to refuse.
#[async_trait]
pub trait Operation: Debug + Send + 'static {
    /// What it yields once committed.
    type Output: Send + 'static;
    /// Why it refuses. A refusal rolls back.
    type Refusal: From<StoreError> + Send + 'static;

    /// Does the work; starts afresh each time it is called.
    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<Self::Output, Self::Refusal>;

    /// Gives back the store's failure inside a refusal, so that the store can tell it from a decision.
    fn store_error(refusal: Self::Refusal) -> Result<StoreError, Self::Refusal>;
}

/// What every store can do with [`Operation`]s.
#[async_trait]
pub trait StoreExt: Store {
    /// Runs `operation` in one transaction; its output is durable once this returns.
    ///
    /// # Errors
    /// The operation's refusal (nothing was written), or the store's failure, converted to it.
    ///
    /// # Cancel safety
    /// As [`Store::transact`].
    async fn run<O: Operation>(&self, operation: O) -> Result<O::Output, O::Refusal> {
        let slot = Arc::new(Mutex::new(None));
        let unit = Typed {
            operation,
            slot: Arc::clone(&slot),
        };
        let committed = self.transact(Box::new(unit)).await;
        let result = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (committed, result) {
            (Ok(()), Some(Ok(output))) => Ok(output),
            (Err(StoreError::Refused), Some(Err(refusal))) => Err(refusal),
            (Err(error), _) => Err(error.into()),
            (Ok(()), _) => Err(StoreError::Corrupt("committed a unit of work that had not finished".into()).into()),
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

type Slot<O> = Arc<Mutex<Option<Result<<O as Operation>::Output, <O as Operation>::Refusal>>>>;

struct Typed<O: Operation> {
    operation: O,
    slot: Slot<O>,
}

impl<O: Operation> Debug for Typed<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.operation.fmt(f)
    }
}

#[async_trait]
impl<O: Operation> Unit for Typed<O> {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        let (result, end) = match self.operation.apply(tx).await {
            Ok(output) => (Some(Ok(output)), Ok(())),
            Err(refusal) => match O::store_error(refusal) {
                Ok(error) => (None, Err(TxError::Store(error))),
                Err(refusal) => (Some(Err(refusal)), Err(TxError::Abort)),
            },
        };
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = result;
        end
    }
}
