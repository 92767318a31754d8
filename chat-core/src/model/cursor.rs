//! Cursors: how far an application has processed a conversation, and the event at that position.

use super::{Event, EventId, Seq, Timestamp};

/// Position up to which an application has processed a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Last processed event.
    pub seq: Seq,
    /// Identity of the event at `seq`, by which a client notices that the server was restored from
    /// a backup and the log continued differently. If it is `None`, the client notices this only if
    /// the log ends before `seq` or the restored store has a new epoch.
    pub identity: Option<EventIdentity>,
}

/// Identity of the event at one position of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventIdentity {
    /// Global id of the event.
    pub id: EventId,
    /// Time of the event. If no event follows the cursor, the client compares this with the time of
    /// the log's last event, which the list of conversations contains, and so need not read the log
    /// to check the identity.
    pub time: Timestamp,
}

impl From<&Event> for EventIdentity {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id,
            time: event.time,
        }
    }
}

impl From<Seq> for Cursor {
    /// Returns a cursor without the identity of the event at `seq`.
    fn from(seq: Seq) -> Self {
        Self { seq, identity: None }
    }
}
