//! Pages of a conversation's log.

use super::Seq;

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
    /// Maximum size of all event bodies, in bytes. If there is an event, the page contains at least
    /// one, even if it is larger.
    pub max_bytes: u32,
}

impl Page {
    /// Default of [`max_bytes`](Self::max_bytes): 256 KiB.
    pub(crate) const DEFAULT_BYTES: u32 = 256 * 1024;

    /// Returns the page of the last `max_events` events.
    #[must_use]
    pub const fn newest(max_events: u32) -> Self {
        Self::new(PageFrom::Newest, max_events)
    }

    /// Returns the page of the first `max_events` events after `seq`.
    #[must_use]
    pub const fn after(seq: Seq, max_events: u32) -> Self {
        Self::new(PageFrom::After(seq), max_events)
    }

    /// Returns the page of the last `max_events` events before `seq`.
    #[must_use]
    pub const fn before(seq: Seq, max_events: u32) -> Self {
        Self::new(PageFrom::Before(seq), max_events)
    }

    /// Returns a page of at most `max_events` events.
    #[must_use]
    pub const fn new(from: PageFrom, max_events: u32) -> Self {
        Self {
            from,
            max_events,
            max_bytes: Self::DEFAULT_BYTES,
        }
    }
}
