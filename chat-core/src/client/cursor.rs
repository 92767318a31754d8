//! How far an application has got in a conversation, and what stands there.

use crate::model::{Event, EventId, Seq, Timestamp};

/// How far the application has got in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// It has dealt with everything up to here.
    pub seq: Seq,
    /// What stands there. By this a log is told from another one that has taken its place: a copy was restored, and went on differently.
    /// `None` where it is not known: then nothing can be told.
    pub mark: Option<Mark>,
}

/// What identifies the entry at some place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its global name.
    pub id: EventId,
    /// Its time. A conversation says which its last one is, so a log that has nothing new needs no reading.
    pub time: Timestamp,
}

impl From<&Event> for Mark {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id,
            time: event.time,
        }
    }
}

impl From<Seq> for Cursor {
    /// A place of which nothing more is known.
    fn from(seq: Seq) -> Self {
        Self { seq, mark: None }
    }
}
