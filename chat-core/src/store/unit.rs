//! Units of work, untyped ([`Unit`]) and typed (`Operation`).

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Store, StoreError, Transaction, TxError};
use crate::sync::Mutex;

/// A unit of work as a store sees it: object-safe, without a result. A unit that has a result puts
/// it into a slot that its caller can read.
#[async_trait]
pub trait Unit: Debug + Send + 'static {
    /// Executes the unit of work. The store may call this again after a rollback.
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError>;
}

/// A unit of work with a typed result or rejection.
#[async_trait]
pub trait Operation: Debug + Send + 'static {
    /// Result of the operation, returned once it is committed.
    type Output: Send + 'static;
    /// Reason for which the operation was rejected. A rejection rolls the transaction back.
    type Rejection: From<StoreError> + Send + 'static;

    /// Executes the operation. The store may call this again after a rollback.
    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<Self::Output, Self::Rejection>;

    /// Returns `Ok` with the store's error that a rejection contains, or `Err` with the rejection
    /// if it contains none. This distinguishes a failure of the store, after which the store may
    /// run the operation again, from a rejection by the operation.
    fn store_error(rejection: Self::Rejection) -> Result<StoreError, Self::Rejection>;
}

/// Typed execution of [`Operation`]s, on every store.
#[async_trait]
pub trait StoreExt: Store {
    /// Runs `operation` in one transaction; its output is durable once this returns.
    ///
    /// # Errors
    /// Returns the operation's rejection (nothing was written), or the store's error converted to a
    /// rejection.
    ///
    /// # Cancel safety
    /// The same as for [`Store::transact`].
    async fn run<O: Operation>(&self, operation: O) -> Result<O::Output, O::Rejection> {
        let slot = Arc::new(Mutex::new(None));
        let unit = OperationUnit {
            operation,
            slot: Arc::clone(&slot),
        };
        let committed = self.transact(Box::new(unit)).await;
        let result = slot.lock().take();
        match (committed, result) {
            (Ok(()), Some(Ok(output))) => Ok(output),
            (Err(StoreError::Aborted), Some(Err(rejection))) => Err(rejection),
            (Err(error), _) => Err(error.into()),
            (Ok(()), _) => {
                Err(StoreError::Corrupt("the store committed a unit of work that had not finished".into()).into())
            }
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

type Slot<O> = Arc<Mutex<Option<Result<<O as Operation>::Output, <O as Operation>::Rejection>>>>;

/// Unit that executes an operation and puts its result into a slot that the caller can read.
struct OperationUnit<O: Operation> {
    operation: O,
    slot: Slot<O>,
}

impl<O: Operation> Debug for OperationUnit<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.operation.fmt(f)
    }
}

#[async_trait]
impl<O: Operation> Unit for OperationUnit<O> {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        let (result, end) = match self.operation.apply(tx).await {
            Ok(output) => (Some(Ok(output)), Ok(())),
            Err(rejection) => match O::store_error(rejection) {
                Ok(error) => (None, Err(TxError::Store(error))),
                Err(rejection) => (Some(Err(rejection)), Err(TxError::Abort)),
            },
        };
        *self.slot.lock() = result;
        end
    }
}
