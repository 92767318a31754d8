//! [`Places`]: where a session stands in each conversation, and what it has to read.
//!
//! The rule is the protocol's: the next place is taken, earlier ones were there before, and whatever lies beyond a hole is read from the log.

use std::collections::HashMap;

use chat_core::model::{ConversationId, ConversationInfo, ConversationRef, HistoryPage, Page, PageFrom, Seq};

use crate::history::Place;

/// Events of a page.
const PAGE_EVENTS: u32 = 500;
/// Bytes of a page.
const PAGE_BYTES: u32 = 200_000;

/// All of a session's.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<u64, Standing>);

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Standing {
    next: u64,
    /// Highest place that the server is known to have.
    known: u64,
    is_asked: bool,
}

/// What a page comes to.
#[derive(Debug)]
pub(super) struct Read {
    /// What will not come: before the first that may be read.
    pub(super) skipped: Option<(u64, u64)>,
    /// How many events at the page's beginning are known already.
    pub(super) known: usize,
}

impl Places {
    /// From the ends of these conversations on.
    pub(super) fn after(conversations: &[ConversationInfo]) -> Self {
        let standings = conversations.iter().map(|info| {
            let standing = Standing {
                next: info.last_seq.0 + 1,
                known: info.last_seq.0,
                is_asked: false,
            };
            (info.id.0, standing)
        });
        Self(standings.collect())
    }

    fn of(&mut self, conversation: u64) -> &mut Standing {
        self.0.entry(conversation).or_insert(Standing {
            next: 1,
            known: 0,
            is_asked: false,
        })
    }

    /// The last place that was handed out.
    pub(super) fn got(&self, conversation: u64) -> u64 {
        self.0.get(&conversation).map_or(0, |standing| standing.next - 1)
    }

    /// A pushed event: whether it is the next one, to be handed out.
    pub(super) fn takes(&mut self, place: Place) -> bool {
        let standing = self.of(place.conversation);
        standing.known = standing.known.max(place.seq);
        let is_next = place.seq == standing.next && !standing.is_asked;
        standing.next += u64::from(is_next);
        is_next
    }

    /// The server has events up to this place.
    pub(super) fn reaches(&mut self, last: Place) {
        let standing = self.of(last.conversation);
        standing.known = standing.known.max(last.seq);
    }

    /// What is to be read now.
    pub(super) fn asks(&mut self) -> Vec<(u64, ConversationRef, Page)> {
        let lacking = self.0.iter_mut();
        let lacking = lacking.filter(|(_, standing)| !standing.is_asked && standing.next <= standing.known);
        let pages = lacking.map(|(conversation, standing)| {
            standing.is_asked = true;
            let page = Page {
                from: PageFrom::After(Seq(standing.next - 1)),
                max_events: PAGE_EVENTS,
                max_bytes: PAGE_BYTES,
            };
            (*conversation, ConversationRef::Id(ConversationId(*conversation)), page)
        });
        pages.collect()
    }

    /// What was asked for did not come.
    pub(super) fn failed(&mut self, conversation: u64) {
        self.of(conversation).is_asked = false;
    }

    /// What was asked for. All of it is handed out but what is known already, holes or not: they are for the check to find.
    pub(super) fn read(&mut self, page: &HistoryPage) -> Read {
        let standing = self.of(page.conversation.0);
        standing.is_asked = false;
        let first = page.events.first().map_or(page.first_seq, |read| read.event.seq).0;
        let is_cut = first > standing.next && page.first_seq.0 > standing.next;
        let skipped = is_cut.then(|| (standing.next, first - 1));
        if is_cut {
            standing.next = first;
        }
        let known = page
            .events
            .iter()
            .take_while(|read| read.event.seq.0 < standing.next)
            .count();
        match page.events.last() {
            Some(last) => standing.next = standing.next.max(last.event.seq.0 + 1),
            // There is nothing more for this user; a later event will announce itself.
            None => standing.known = standing.next - 1,
        }
        Read { skipped, known }
    }
}
