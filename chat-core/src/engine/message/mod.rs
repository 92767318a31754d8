//! Messages, edits, recalls and reactions: checks drafts and appends them in batches.

mod batch;
mod context;
mod open;
mod prepared;

pub(super) use batch::Appends;
pub(super) use open::OpenDirect;
pub(super) use prepared::{BatchRules, Prepared, fingerprint};

use super::error::CommandError;
use crate::model::{Appended, Event, ReplyCode};

/// Error for a draft whose idempotency key was used for another draft.
pub(super) fn conflict() -> CommandError {
    CommandError::new(
        ReplyCode::Conflict,
        "the client message id was used for another message",
    )
}

/// Returns the answer for a draft that became this event.
pub(super) fn appended(event: &Event, duplicate: bool) -> Appended {
    Appended {
        conversation: event.conversation,
        seq: event.seq,
        event_id: event.id,
        time: event.time,
        duplicate,
    }
}
