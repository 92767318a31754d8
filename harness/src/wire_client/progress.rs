//! [`Progress`]: how far a session has received each of its conversations, and which events it has
//! to request.
//!
//! The protocol requires that a client accepts the event that follows its last one, ignores an
//! earlier event as a duplicate, and after a gap reads the missing events from the log.

use std::collections::HashMap;

use chat_core::model::{ConversationId, ConversationInfo, ConversationRef, HistoryPage, Page, PageFrom, Seq};

use crate::history::LogPosition;

/// Maximum number of events in a page.
const PAGE_EVENTS: u32 = 500;
/// Maximum size of a page in bytes.
const PAGE_BYTES: u32 = 200_000;

/// Progress of a session in each of its conversations, by the id of the conversation.
#[derive(Debug, Default)]
pub(super) struct Progress(HashMap<u64, ConversationProgress>);

/// Progress in one conversation.
#[derive(Clone, Copy, Debug)]
struct ConversationProgress {
    /// Sequence number of the next event to deliver.
    next: u64,
    /// Sequence number up to which events are requested: the highest one known to be in the log, or
    /// less if the user may not read that far.
    known: u64,
    /// True while a requested page has not arrived.
    is_requested: bool,
}

/// Result of [`Progress::accept_page`]: which events of the page not to deliver again, and which
/// positions are skipped.
#[derive(Debug)]
pub(super) struct AcceptedPage {
    /// First and last sequence number of a range that will not be delivered, because the user may
    /// not read it.
    pub(super) skipped: Option<(u64, u64)>,
    /// Number of events at the start of the page that were delivered before.
    pub(super) duplicates: usize,
}

impl Progress {
    /// Returns the progress of a session that starts after the last position of each conversation.
    pub(super) fn after(conversations: &[ConversationInfo]) -> Self {
        let entries = conversations.iter().map(|info| {
            let entry = ConversationProgress {
                next: info.last_seq.0 + 1,
                known: info.last_seq.0,
                is_requested: false,
            };
            (info.id.0, entry)
        });
        Self(entries.collect())
    }

    fn entry(&mut self, conversation: u64) -> &mut ConversationProgress {
        self.0.entry(conversation).or_insert(ConversationProgress {
            next: 1,
            known: 0,
            is_requested: false,
        })
    }

    /// Returns the sequence number before that of the next event to deliver: all events up to it
    /// were delivered, skipped, or in the log before the session started.
    pub(super) fn last_delivered(&self, conversation: u64) -> u64 {
        self.0.get(&conversation).map_or(0, |entry| entry.next - 1)
    }

    /// Records a pushed event. Returns whether it is the next one and must be delivered. Returns
    /// false while a page is requested, because that page or a later one will contain the event.
    pub(super) fn accept(&mut self, position: LogPosition) -> bool {
        let entry = self.entry(position.conversation);
        entry.known = entry.known.max(position.seq);
        let is_next = position.seq == entry.next && !entry.is_requested;
        entry.next += u64::from(is_next);
        is_next
    }

    /// Records that the log contains this position.
    pub(super) fn note_last_seq(&mut self, last: LogPosition) {
        let entry = self.entry(last.conversation);
        entry.known = entry.known.max(last.seq);
    }

    /// Returns the pages to request now, with their conversations, and marks them as requested.
    pub(super) fn next_requests(&mut self) -> Vec<(u64, ConversationRef, Page)> {
        let incomplete = self.0.iter_mut();
        let incomplete = incomplete.filter(|(_, entry)| !entry.is_requested && entry.next <= entry.known);
        let pages = incomplete.map(|(conversation, entry)| {
            entry.is_requested = true;
            let page = Page {
                from: PageFrom::After(Seq(entry.next - 1)),
                max_events: PAGE_EVENTS,
                max_bytes: PAGE_BYTES,
            };
            (*conversation, ConversationRef::Id(ConversationId(*conversation)), page)
        });
        pages.collect()
    }

    /// Records that the request for a page failed, so that the next call of
    /// [`next_requests`](Self::next_requests) repeats it.
    pub(super) fn request_failed(&mut self, conversation: u64) {
        self.entry(conversation).is_requested = false;
    }

    /// Records a requested page. All of its events that were not delivered before must be
    /// delivered, even after a gap, because the check of the history reports gaps.
    pub(super) fn accept_page(&mut self, page: &HistoryPage) -> AcceptedPage {
        let entry = self.entry(page.conversation.0);
        entry.is_requested = false;
        let first = page.events.first().map_or(page.first_seq, |read| read.event.seq).0;
        let skips_positions = first > entry.next && page.first_seq.0 > entry.next;
        let skipped = skips_positions.then(|| (entry.next, first - 1));
        if skips_positions {
            entry.next = first;
        }
        let duplicates = page
            .events
            .iter()
            .take_while(|read| read.event.seq.0 < entry.next)
            .count();
        match page.events.last() {
            Some(last) => entry.next = entry.next.max(last.event.seq.0 + 1),
            // The user may read no further event of the log; a later event would be pushed.
            None => entry.known = entry.next - 1,
        }
        AcceptedPage { skipped, duplicates }
    }
}
