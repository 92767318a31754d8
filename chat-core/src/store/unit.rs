//! Units of work, untyped ([`Unit`]) and typed ([`TypedUnit`]).

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Store, StoreError, Transaction, TxError};
use crate::sync::Mutex;

/// A unit of work as a store sees it: object-safe, without a typed result. A unit that has a result
/// puts it into a slot that its caller can read.
#[async_trait]
pub trait Unit: Debug + Send + 'static {
    /// Executes the unit of work. The store may call this again after a rollback.
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError>;
}

/// A unit of work with a typed result or rejection.
#[async_trait]
pub trait TypedUnit: Debug + Send + 'static {
    /// Result of the unit of work, returned once it is committed.
    type Output: Send + 'static;
    /// Reason for which the unit of work failed: it rejected the request, or the store returned an
    /// error. If [`apply`](Self::apply) returns it, the store rolls the transaction back.
    type Rejection: From<StoreError> + Send + 'static;

    /// Executes the unit of work. The store may call this again after a rollback.
    async fn apply(&mut self, tx: &mut dyn Transaction) -> Result<Self::Output, Self::Rejection>;

    /// Returns `Ok` with the store's error that a rejection contains, or `Err` with the rejection
    /// if it contains none. This distinguishes a failure of the store, after which the store may
    /// run the unit of work again, from a rejection by the unit of work itself.
    fn store_error(rejection: Self::Rejection) -> Result<StoreError, Self::Rejection>;
}

/// Typed execution of [`TypedUnit`]s, on every store.
#[async_trait]
pub trait StoreExt: Store {
    /// Runs `unit` in one transaction. Returns its output once its writes are durable.
    ///
    /// # Errors
    /// Returns the unit's rejection (nothing was written), or the store's error converted to a
    /// rejection.
    ///
    /// # Cancel safety
    /// The same as for [`Store::transact`].
    async fn run<U: TypedUnit>(&self, unit: U) -> Result<U::Output, U::Rejection> {
        let slot = Arc::new(Mutex::new(None));
        let unit = SlotUnit {
            unit,
            slot: Arc::clone(&slot),
        };
        let committed = self.transact(Box::new(unit)).await;
        let result = slot.lock().take();
        match (committed, result) {
            (Ok(()), Some(Ok(output))) => Ok(output),
            (Err(StoreError::Aborted), Some(Err(rejection))) => Err(rejection),
            (Err(error), _) => Err(error.into()),
            (Ok(()), _) => {
                Err(StoreError::Defect("the store committed a unit of work that had not succeeded".into()).into())
            }
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

type Slot<U> = Arc<Mutex<Option<Result<<U as TypedUnit>::Output, <U as TypedUnit>::Rejection>>>>;

/// Unit that executes a typed unit and puts its output or rejection into a slot that the caller can
/// read. After a run that ends with an error of the store, the slot is empty.
struct SlotUnit<U: TypedUnit> {
    unit: U,
    slot: Slot<U>,
}

impl<U: TypedUnit> Debug for SlotUnit<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.unit.fmt(f)
    }
}

#[async_trait]
impl<U: TypedUnit> Unit for SlotUnit<U> {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        let (result, end) = match self.unit.apply(tx).await {
            Ok(output) => (Some(Ok(output)), Ok(())),
            Err(rejection) => match U::store_error(rejection) {
                Ok(error) => (None, Err(TxError::Store(error))),
                Err(rejection) => (Some(Err(rejection)), Err(TxError::Abort)),
            },
        };
        *self.slot.lock() = result;
        end
    }
}
