//! What waits in a machine: events for the application, acknowledgements for the server.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Instant,
};

use crate::client::ClientEvent;
use crate::model::{ConversationId, Seq};

/// Acknowledged places that were not reported yet.
#[derive(Debug, Default)]
pub(super) struct Acks {
    pub(super) acknowledged: HashMap<ConversationId, Seq>,
    pub(super) fresh: BTreeMap<ConversationId, Seq>,
    pub(super) events: u32,
    pub(super) flush_at: Option<Instant>,
}

/// What waits to be handed to the application. Bounded by the rule that nothing is taken in while it is full.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) queue: VecDeque<ClientEvent>,
    bytes: usize,
}

impl Events {
    const MAX_EVENTS: usize = 1024;
    const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Whether a pushed event may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < Self::MAX_EVENTS && self.bytes < Self::MAX_BYTES
    }

    /// Whether a whole page may be asked for.
    pub(super) fn has_room_for_page(&self) -> bool {
        self.queue.len() < Self::MAX_EVENTS / 4 && self.bytes < Self::MAX_BYTES / 4
    }

    pub(super) fn put(&mut self, event: ClientEvent) {
        self.bytes += weight(&event);
        self.queue.push_back(event);
    }

    /// Best-effort events are the first to go.
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
