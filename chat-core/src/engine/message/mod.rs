//! Messages, edits, recalls and reactions: checking drafts and appending them in batches.

mod batch;
mod checks;
mod open;
mod prepared;

pub(super) use batch::{Appends, BatchRules};
pub(super) use open::OpenDirect;
pub(super) use prepared::{Prepared, fingerprint};

use super::error::CommandError;
use crate::model::{Appended, Event, ReplyCode};

/// The idempotency key was used for something else.
pub(super) fn conflict() -> CommandError {
    CommandError::new(
        ReplyCode::Conflict,
        "this client message id was used for something else",
    )
}

/// Where an event ended up, in an answer.
pub(super) fn appended(event: &Event, duplicate: bool) -> Appended {
    Appended {
        conversation: event.conversation,
        seq: event.seq,
        event_id: event.id,
        time: event.time,
        duplicate,
    }
}
