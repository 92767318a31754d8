//! Pages of a conversation's log.

use super::Seq;

/// Start and direction of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The first events with a greater Seq.
    After(Seq),
    /// The last events with a smaller Seq.
    Before(Seq),
    /// The last events of the log.
    Newest,
}

/// Page of history to read. Events always come in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Start and direction of the page.
    pub from: PageFrom,
    /// Maximum number of events.
    pub max_events: u32,
    /// Maximum number of body bytes. A page holds at least one event if there is one, whatever its
    /// size.
    pub max_bytes: u32,
}

impl Page {
    /// Maximum number of body bytes, unless the caller sets another limit: 256 KiB.
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
