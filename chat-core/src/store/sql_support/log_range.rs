//! [`LogRange`]: the part of a log that one read covers.

use crate::model::{ConversationId, Event, Member, Page, PageFrom, Seq};

/// Range of a conversation's log, with the limits of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRange {
    /// Conversation of the log.
    pub conversation: ConversationId,
    /// First event of the range.
    pub first: Seq,
    /// Last event of the range. Smaller than `first` if the range is empty.
    pub last: Seq,
    /// Maximum number of events.
    pub max_events: u32,
    /// Maximum size of the bodies, edits included, in bytes. The first event is read even if it is
    /// larger.
    pub max_bytes: u32,
    /// True if the read starts at the end of the range and goes backwards.
    pub is_backwards: bool,
}

impl LogRange {
    /// Returns the range from `first` to `last`, read forwards, without a limit on the bytes.
    #[must_use]
    pub const fn new(conversation: ConversationId, first: Seq, last: Seq, max_events: u32) -> Self {
        Self {
            conversation,
            first,
            last,
            max_events,
            max_bytes: u32::MAX,
            is_backwards: false,
        }
    }

    /// Returns the range of a page for `reader`, in a conversation that ends at `last_seq`.
    #[must_use]
    pub fn of_page(reader: &Member, last_seq: Seq, page: Page) -> Self {
        let (mut first, mut last) = (reader.first_seq, last_seq.min(reader.until_seq.unwrap_or(last_seq)));
        let is_backwards = match page.from {
            PageFrom::After(seq) => {
                first = first.max(Seq(seq.0.saturating_add(1)));
                false
            }
            PageFrom::Before(seq) => {
                last = last.min(seq.previous());
                true
            }
            PageFrom::Newest => true,
        };
        Self {
            conversation: reader.conversation,
            first,
            last,
            max_events: page.max_events,
            max_bytes: page.max_bytes,
            is_backwards,
        }
    }

    /// Returns whether the range contains more events after `events`, which were read from it, in
    /// the direction of the read. `events` are in ascending order. A log has no gaps, so comparing
    /// the ends is sufficient.
    #[must_use]
    pub fn continues_after(&self, events: &[Event]) -> bool {
        match (events.first(), events.last()) {
            (Some(first), Some(_)) if self.is_backwards => first.seq > self.first,
            (Some(_), Some(last)) => last.seq < self.last,
            _ => self.first <= self.last,
        }
    }
}

/// Bytes that are left for the bodies in a page.
#[derive(Clone, Copy, Debug)]
pub struct PageBudget {
    left: u64,
    /// True until the page has its first event, which fits whatever its size.
    is_page_empty: bool,
}

impl PageBudget {
    /// Returns the budget of an empty page.
    #[must_use]
    pub const fn new(max_bytes: u32) -> Self {
        Self {
            left: max_bytes as u64,
            is_page_empty: true,
        }
    }

    /// Takes the bytes of one event and of its edit. Returns `false` if they do not fit; then the
    /// page ends before this event.
    pub const fn take(&mut self, bytes: u64) -> bool {
        let fits = self.is_page_empty || bytes <= self.left;
        self.is_page_empty = false;
        self.left = self.left.saturating_sub(bytes);
        fits
    }
}
