//! Units of work that append messages, edits, recalls and reactions, and open direct conversations.

mod batch;
mod context;
mod open;
mod queued_draft;

pub(in crate::engine) use batch::{AppendBatch, AppendedBatch};
pub(in crate::engine) use open::{OpenDirect, check_first_message};
pub(in crate::engine) use queued_draft::{MessageLimits, QueuedDraft, fingerprint};

use crate::engine::error::CommandError;
use crate::model::{Appended, Event, ReplyCode};

/// Returns the error for a draft or a new group whose idempotency key was used for another one.
pub(in crate::engine) fn conflict() -> CommandError {
    CommandError::new(
        ReplyCode::Conflict,
        "the client message id was used for another message or group",
    )
}

/// Returns the answer for a draft that became this event. `duplicate` is true if the draft was
/// stored before.
pub(in crate::engine) fn appended(event: &Event, duplicate: bool) -> Appended {
    Appended {
        conversation: event.conversation,
        seq: event.seq,
        event_id: event.id,
        time: event.time,
        duplicate,
    }
}
