//! Containment of panics: a panic fails only the command, or the piece of work of a feed, in which
//! it occurs.

use super::error::CommandError;
use crate::panics;

/// Runs a command. Logs a panic of the command and turns it into an internal error.
pub(super) async fn contain<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    panics::catch(work).await.unwrap_or_else(|panic| {
        tracing::error!(panic = panic.text(), "a command panicked");
        Err(CommandError::internal())
    })
}

/// Runs work of a feed. Logs a panic of the work and turns it into an internal error. The feed then
/// repeats the work, except its last: a closing feed tries only once to release its leases.
pub(super) async fn contain_feed<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    panics::catch(work).await.unwrap_or_else(|panic| {
        tracing::error!(
            panic = panic.text(),
            "the work of a feed panicked; unless the feed is closing, it repeats the work"
        );
        Err(CommandError::internal())
    })
}
