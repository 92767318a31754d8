//! Queues of the machine: events for the application, acknowledgements for the server.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Instant,
};

use crate::client::{ClientEvent, Cursor};
use crate::model::ConversationId;

/// Acknowledgements of the application, and those that were not reported to the server yet.
#[derive(Debug, Default)]
pub(super) struct Acks {
    pub(super) acknowledged: HashMap<ConversationId, Cursor>,
    pub(super) unreported: BTreeMap<ConversationId, Cursor>,
    /// Number of acknowledgements since the last report.
    pub(super) events: u32,
    pub(super) flush_at: Option<Instant>,
    /// Number of resets so far.
    resets: u64,
    /// Number of the latest reset of each conversation.
    reset_at: HashMap<ConversationId, u64>,
    /// Number of the latest reset of all conversations.
    all_reset_at: u64,
}

impl Acks {
    /// Returns the acknowledgements of an earlier run.
    pub(super) fn restored(cursors: &BTreeMap<ConversationId, Cursor>) -> Self {
        Self {
            acknowledged: cursors.iter().map(|(id, cursor)| (*id, *cursor)).collect(),
            ..Self::default()
        }
    }

    /// Stores an acknowledgement that was made after `resets` resets. Returns whether it is new and
    /// not void.
    pub(super) fn acknowledge(&mut self, id: ConversationId, cursor: Cursor, resets: u64) -> bool {
        let reset_at = self
            .reset_at
            .get(&id)
            .copied()
            .unwrap_or_default()
            .max(self.all_reset_at);
        let known = self.acknowledged.get(&id);
        if resets < reset_at || known.is_some_and(|known| cursor.seq <= known.seq) {
            return false;
        }
        self.acknowledged.insert(id, cursor);
        self.unreported.insert(id, cursor);
        self.events += 1;
        true
    }

    /// Removes the acknowledgement of a conversation.
    pub(super) fn forget(&mut self, id: ConversationId) {
        self.acknowledged.remove(&id);
        self.unreported.remove(&id);
    }

    /// Voids the deliveries and acknowledgements of a conversation.
    pub(super) fn reset(&mut self, id: ConversationId) {
        self.forget(id);
        self.resets += 1;
        self.reset_at.insert(id, self.resets);
    }

    /// Voids all acknowledgements.
    pub(super) fn reset_all(&mut self) {
        let resets = self.resets + 1;
        *self = Self {
            resets,
            all_reset_at: resets,
            ..Self::default()
        };
    }
}

/// Events that wait for the application. The queue is bounded, because the machine accepts no
/// further event while the queue is full.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) queue: VecDeque<ClientEvent>,
    bytes: usize,
}

impl Events {
    const MAX_EVENTS: usize = 1024;
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Returns whether a pushed event can be accepted.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < Self::MAX_EVENTS && self.bytes < Self::MAX_BYTES
    }

    /// Returns whether a whole page can be accepted.
    pub(super) fn has_room_for_page(&self) -> bool {
        self.queue.len() < Self::MAX_EVENTS / 4 && self.bytes < Self::MAX_BYTES / 4
    }

    pub(super) fn put(&mut self, event: ClientEvent) {
        self.bytes += weight(&event);
        self.queue.push_back(event);
    }

    /// Adds a best-effort event, if there is room.
    pub(super) fn offer(&mut self, event: ClientEvent) {
        if self.has_room() {
            self.put(event);
        }
    }

    pub(super) fn take(&mut self) -> Option<ClientEvent> {
        let event = self.queue.pop_front()?;
        self.bytes -= weight(&event);
        Some(event)
    }
}

fn weight(event: &ClientEvent) -> usize {
    const OVERHEAD: usize = 256;
    match event {
        ClientEvent::Event(delivery) => OVERHEAD + 2 * delivery.event.event.body.len(),
        _ => OVERHEAD,
    }
}
