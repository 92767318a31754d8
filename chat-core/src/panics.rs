//! Containment of panics: a panic ends only one piece of work, and its text is logged.

use std::any::Any;
use std::error::Error;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// A panic that was caught, with its text.
#[derive(Debug, thiserror::Error)]
#[error("the work panicked: {0}")]
pub(crate) struct Panicked(String);

impl Panicked {
    /// Returns the text of the panic.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Failure of a piece of work.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Failure<E: Error + 'static> {
    /// The work returned an error.
    Error(E),
    /// The work panicked, because it has a defect.
    Panic(#[from] Panicked),
}

/// Returns the text of a panic, or "no text" if its payload is not a string.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// Runs `work` to its end. Returns its output, or the panic that ended it.
pub(crate) async fn catch<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let caught = AssertUnwindSafe(work).catch_unwind().await;
    caught.map_err(|payload| Panicked(text(&*payload).to_owned()))
}

/// Runs `work` to its end. Returns its output, or the error or panic that ended it.
pub(crate) async fn contain<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Failure<E>>
where
    E: Error + 'static,
{
    catch(work).await?.map_err(Failure::Error)
}

/// Runs one step of the worker with this name. A panic ends only the step: it is logged, and `None`
/// is returned.
pub(crate) async fn step<T>(worker: &'static str, work: impl Future<Output = T>) -> Option<T> {
    let result = catch(work).await;
    result
        .inspect_err(|panic| {
            tracing::error!(
                worker,
                panic = panic.0,
                "a step of a worker panicked; the worker continues"
            )
        })
        .ok()
}

/// Runs a worker to its end. A panic outside of its [steps](step) ends the worker and is logged.
/// Returns whether the worker ended without a panic.
pub(crate) async fn run_worker(worker: &'static str, work: impl Future<Output = ()>) -> bool {
    let result = catch(work).await;
    result
        .inspect_err(|panic| tracing::error!(worker, panic = panic.0, "a worker panicked and has ended"))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panics_are_caught_with_their_texts() {
        let number = 7;
        let formatted = catch(async { panic!("number {number}") }).await;
        assert_eq!(formatted.map_err(|panic| panic.0), Err::<(), _>("number 7".to_owned()));
        let literal = contain(async { panic!("literal") }).await;
        let literal: Failure<std::fmt::Error> = literal.map(|()| 0).unwrap_err();
        assert_eq!(literal.to_string(), "the work panicked: literal");
        let other = catch(async { std::panic::panic_any(7) }).await;
        assert_eq!(other.map_err(|panic| panic.0), Err::<(), _>("no text".to_owned()));
        assert_eq!(step("test", async { 1 }).await, Some(1));
        assert!(!run_worker("test", async { panic!("ends the worker") }).await);
    }
}
