//! Pages of a conversation's log, and of the list of a user's conversations.

use super::{ConversationId, Seq};

/// Start and direction of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The first events after this position.
    After(Seq),
    /// The last events before this position.
    Before(Seq),
    /// The last events of the log.
    Newest,
}

/// Page of a log to read. Its events are in ascending order, whatever its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Start and direction of the page.
    pub from: PageFrom,
    /// Maximum number of events.
    pub max_events: u32,
    /// Maximum size of the bodies of all events and of their latest edits, in bytes. If there is an
    /// event, the page contains at least one with its edit, even if they are larger.
    pub max_bytes: u32,
}

impl Page {
    /// Default of [`max_bytes`](Self::max_bytes): 256 KiB.
    pub(crate) const DEFAULT_BYTES: u32 = 256 * 1024;

    /// Returns a page of at most `max_events` events, the last ones of the log.
    #[must_use]
    pub const fn newest(max_events: u32) -> Self {
        Self::new(PageFrom::Newest, max_events)
    }

    /// Returns a page of at most `max_events` events, the first ones after `seq`.
    #[must_use]
    pub const fn after(seq: Seq, max_events: u32) -> Self {
        Self::new(PageFrom::After(seq), max_events)
    }

    /// Returns a page of at most `max_events` events, the last ones before `seq`.
    #[must_use]
    pub const fn before(seq: Seq, max_events: u32) -> Self {
        Self::new(PageFrom::Before(seq), max_events)
    }

    /// Returns a page of at most `max_events` events, with the default
    /// [`max_bytes`](Self::max_bytes).
    #[must_use]
    pub const fn new(from: PageFrom, max_events: u32) -> Self {
        Self {
            from,
            max_events,
            max_bytes: Self::DEFAULT_BYTES,
        }
    }
}

/// Page of the list of the user's conversations to read. The pages follow each other in the order
/// of conversation ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationQuery {
    /// Lists conversations with a greater id; `ConversationId(0)` starts with the first.
    pub after: ConversationId,
    /// Maximum number of conversations.
    pub limit: u32,
    /// False to leave out the conversations that have ended, because the user is no longer a member
    /// or the group was deleted, and of which the device has acknowledged everything that the user
    /// may read. True to list these too.
    pub include_ended: bool,
    /// True to list groups with their descriptions.
    pub include_descriptions: bool,
}

impl ConversationQuery {
    /// Default of [`limit`](Self::limit).
    pub(crate) const DEFAULT_LIMIT: u32 = 200;
    /// Maximum of [`limit`](Self::limit).
    pub const MAX_LIMIT: u32 = 500;
}

impl Default for ConversationQuery {
    fn default() -> Self {
        Self {
            after: ConversationId(0),
            limit: Self::DEFAULT_LIMIT,
            include_ended: false,
            include_descriptions: false,
        }
    }
}
