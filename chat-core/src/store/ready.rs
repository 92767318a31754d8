//! Running units of work, for stores.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;

use super::{StoreError, Transaction, TxError, Unit};

/// Runs `unit` to its end on this thread, against a transaction whose futures are ready at once. A unit awaits nothing
/// but its transaction, so it never has to be polled twice, and nothing can cancel it half-way. A panic is contained.
///
/// # Errors
/// Whatever the unit returns. [`StoreError::Corrupt`] if it awaited something else, or panicked. After an error the
/// caller rolls back.
pub fn run_ready(unit: &mut dyn Unit, tx: &mut dyn Transaction) -> Result<(), TxError> {
    let poll_once = AssertUnwindSafe(|| {
        let mut run = unit.run(tx);
        match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(misuse("it awaited something other than its transaction")),
        }
    });
    catch_unwind(poll_once).unwrap_or_else(|payload| Err(panicked(&*payload)))
}

/// Runs `unit` against a transaction that may wait. A panic is contained.
///
/// # Errors
/// Whatever the unit returns. [`StoreError::Corrupt`] if it panicked. After an error the caller rolls back.
///
/// # Cancel safety
/// None: run it in a task of its own.
pub async fn run_contained(unit: &mut dyn Unit, tx: &mut dyn Transaction) -> Result<(), TxError> {
    let work = AssertUnwindSafe(unit.run(tx)).catch_unwind().await;
    work.unwrap_or_else(|payload| Err(panicked(&*payload)))
}

fn panicked(payload: &(dyn Any + Send)) -> TxError {
    misuse(&format!("it panicked: {}", panic_text(payload)))
}

fn misuse(what: &str) -> TxError {
    TxError::Store(StoreError::Corrupt(format!(
        "a unit of work broke its contract: {what}"
    )))
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "no text"
    }
}
