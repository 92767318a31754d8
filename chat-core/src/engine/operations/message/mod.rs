//! Messages, edits, recalls and reactions: checks drafts and appends them in batches.

mod batch;
mod context;
mod open;
mod prepared;

pub(in crate::engine) use batch::Appends;
pub(in crate::engine) use open::OpenDirect;
pub(in crate::engine) use prepared::{BatchRules, DraftKey, Prepared, fingerprint};

use crate::engine::error::CommandError;
use crate::model::{Appended, Event, ReplyCode};

/// Returns the error for a draft whose idempotency key was used for another draft.
pub(in crate::engine) fn conflict() -> CommandError {
    CommandError::new(
        ReplyCode::Conflict,
        "the client message id was used for another message",
    )
}

/// Returns the answer for a draft that became this event.
pub(in crate::engine) fn appended(event: &Event, duplicate: bool) -> Appended {
    Appended {
        conversation: event.conversation,
        seq: event.seq,
        event_id: event.id,
        time: event.time,
        duplicate,
    }
}
