//! Helpers with which a store runs a unit of work.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;

use super::{StoreError, Transaction, TxError, Unit};
use crate::panics;

/// Runs `unit` to its end on the current thread, with a transaction whose futures are always ready.
/// Catches a panic of the unit.
///
/// A unit awaits only its transaction, so one poll completes it and no caller can cancel it
/// halfway.
///
/// # Errors
/// Returns the unit's error, or [`StoreError::Defect`] if the unit awaited anything but its
/// transaction or panicked. The caller rolls back after an error.
pub fn run_inline(unit: &mut dyn Unit, tx: &mut dyn Transaction) -> Result<(), TxError> {
    let poll_once = AssertUnwindSafe(|| {
        let mut run = unit.run(tx);
        match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(contract_violation("it awaited something other than its transaction")),
        }
    });
    catch_unwind(poll_once).unwrap_or_else(|payload| Err(panicked(&*payload)))
}

/// Runs `unit` with a transaction that may wait for a database. Catches a panic of the unit.
///
/// # Errors
/// Returns the unit's error, or [`StoreError::Defect`] if the unit panicked. The caller rolls back
/// after an error.
///
/// # Cancel safety
/// Not cancel safe: dropping the future leaves the transaction incomplete. Run it in a separate
/// task.
pub async fn run_catching(unit: &mut dyn Unit, tx: &mut dyn Transaction) -> Result<(), TxError> {
    let work = AssertUnwindSafe(unit.run(tx)).catch_unwind().await;
    work.unwrap_or_else(|payload| Err(panicked(&*payload)))
}

/// Returns the error for a unit that panicked with `payload`.
fn panicked(payload: &(dyn Any + Send)) -> TxError {
    contract_violation(&format!("it panicked: {}", panics::text(payload)))
}

fn contract_violation(what: &str) -> TxError {
    TxError::Store(StoreError::Defect(format!("a unit of work broke its contract: {what}")))
}
