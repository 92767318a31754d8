//! What waits in the machine: events for the application, and acknowledgements to save and to
//! report to the server.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Instant,
};

use crate::client::{ClientEvent, Cursor};
use crate::model::ConversationId;

/// Cursors that the application has acknowledged, and resets.
///
/// A reset ([`ClientEvent::Rewound`] for one conversation, [`ClientEvent::StoreReplaced`] for all)
/// means that the server's log is not the one that was delivered. Acknowledgements from before the
/// reset are then void: they are forgotten, and those that arrive late are ignored.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Last acknowledged cursor of each conversation.
    pub(super) acknowledged: HashMap<ConversationId, Cursor>,
    /// Cursors that were acknowledged since the last flush
    /// ([`Machine::flush_acknowledgements`](super::Machine::flush_acknowledgements)).
    pub(super) unreported: BTreeMap<ConversationId, Cursor>,
    /// Number of acknowledgements since the last flush.
    pub(super) unflushed: u32,
    /// Time of the next flush; `None` if none is planned.
    pub(super) flush_at: Option<Instant>,
    /// Number of resets so far.
    resets: u64,
    /// Value of `resets` at the latest reset of each conversation.
    latest_reset: HashMap<ConversationId, u64>,
    /// Value of `resets` at the latest reset of all conversations at once; 0 before the first.
    latest_reset_of_all: u64,
}

impl Acks {
    /// Returns the acknowledgements of an earlier run.
    pub(super) fn restored(cursors: &BTreeMap<ConversationId, Cursor>) -> Self {
        Self {
            acknowledged: cursors.iter().map(|(id, cursor)| (*id, *cursor)).collect(),
            ..Self::default()
        }
    }

    /// Stores an acknowledgement. `resets` is the number of resets that the application had
    /// received before it. Returns `false` and stores nothing if this or a later position was
    /// acknowledged before, or a later reset makes the acknowledgement void.
    pub(super) fn acknowledge(&mut self, id: ConversationId, cursor: Cursor, resets: u64) -> bool {
        let latest_reset = self
            .latest_reset
            .get(&id)
            .copied()
            .unwrap_or_default()
            .max(self.latest_reset_of_all);
        let known = self.acknowledged.get(&id);
        if resets < latest_reset || known.is_some_and(|known| cursor.seq <= known.seq) {
            return false;
        }
        self.acknowledged.insert(id, cursor);
        self.unreported.insert(id, cursor);
        self.unflushed += 1;
        true
    }

    /// Removes the acknowledgement of a conversation.
    pub(super) fn forget(&mut self, id: ConversationId) {
        self.acknowledged.remove(&id);
        self.unreported.remove(&id);
    }

    /// Counts a reset of a conversation: what was delivered and acknowledged before is void.
    pub(super) fn reset(&mut self, id: ConversationId) {
        self.forget(id);
        self.resets += 1;
        self.latest_reset.insert(id, self.resets);
    }

    /// Counts a reset of all conversations: every acknowledgement is void.
    pub(super) fn reset_all(&mut self) {
        let resets = self.resets + 1;
        *self = Self {
            resets,
            latest_reset_of_all: resets,
            ..Self::default()
        };
    }
}

/// Events that wait for the application. While there is [no room](Self::has_room), the machine
/// drops pushed and best-effort events; it later reads the dropped events of conversations from
/// their logs. It requests pages and look-ups only while [much is free](Self::has_room_for_page).
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    queue: VecDeque<ClientEvent>,
    /// Approximate memory of the queued events, in bytes.
    bytes: usize,
    /// Event that reports the end of the client. It is taken after all others.
    last: Option<ClientEvent>,
    /// True once `last` was taken. Later events are dropped.
    has_ended: bool,
}

impl EventQueue {
    /// Number of queued events from which on there is no room.
    const MAX_EVENTS: usize = 1024;
    /// Memory of the queued events from which on there is no room, in bytes.
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Returns whether there is room for a pushed event.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < Self::MAX_EVENTS && self.bytes < Self::MAX_BYTES
    }

    /// Returns whether another page or look-up may be requested: the queue is filled to less than a
    /// quarter. The rest stays free for pages that were requested already, whose events are added
    /// even if there is no room.
    pub(super) fn has_room_for_page(&self) -> bool {
        self.queue.len() < Self::MAX_EVENTS / 4 && self.bytes < Self::MAX_BYTES / 4
    }

    /// Returns whether no event can be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.last.is_none()
    }

    /// Adds an event, even if there is no room. Does nothing once the event that reports the end of
    /// the client was taken.
    pub(super) fn put(&mut self, event: ClientEvent) {
        if self.has_ended {
            return;
        }
        self.bytes += weight(&event);
        self.queue.push_back(event);
    }

    /// Adds a best-effort event, if there is room.
    pub(super) fn offer(&mut self, event: ClientEvent) {
        if self.has_room() {
            self.put(event);
        }
    }

    /// Sets the event that reports the end of the client.
    pub(super) fn end(&mut self, event: ClientEvent) {
        self.last = Some(event);
    }

    /// Removes and returns the next event.
    pub(super) fn take(&mut self) -> Option<ClientEvent> {
        let Some(event) = self.queue.pop_front() else {
            let last = self.last.take();
            self.has_ended |= last.is_some();
            return last;
        };
        self.bytes -= weight(&event);
        Some(event)
    }
}

/// Returns the approximate memory of an event, in bytes. The body counts twice, because a delivery
/// holds it encoded and decoded.
fn weight(event: &ClientEvent) -> usize {
    const OVERHEAD: usize = 256;
    match event {
        ClientEvent::Event(delivery) => OVERHEAD + 2 * delivery.event.event.body.len(),
        _ => OVERHEAD,
    }
}
