//! Containment of panics: a panic during one command fails that command only.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::error::CommandError;

/// Runs a command and turns a panic into an internal error.
pub(super) async fn contain<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "a command panicked");
        Err(CommandError::internal())
    })
}

/// Returns the message of a panic.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
