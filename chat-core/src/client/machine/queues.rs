//! What waits in a machine: events for the application, acknowledgements for the server.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Instant,
};

use crate::client::{ClientEvent, Cursor};
use crate::model::ConversationId;

/// What the application has acknowledged, and what of it was not reported yet.
#[derive(Debug, Default)]
pub(super) struct Acks {
    pub(super) acknowledged: HashMap<ConversationId, Cursor>,
    pub(super) fresh: BTreeMap<ConversationId, Cursor>,
    pub(super) events: u32,
    pub(super) flush_at: Option<Instant>,
    /// How often something was void …
    resets: u64,
    /// … when conversations began anew …
    begun: HashMap<ConversationId, u64>,
    /// … and when all of them did.
    all_begun: u64,
}

impl Acks {
    /// What an earlier run had acknowledged.
    pub(super) fn kept(cursors: &BTreeMap<ConversationId, Cursor>) -> Self {
        Self {
            acknowledged: cursors.iter().map(|(id, cursor)| (*id, *cursor)).collect(),
            ..Self::default()
        }
    }

    /// Takes in what was acknowledged by whoever had been handed so many resets; `false` if it says nothing new.
    pub(super) fn acknowledge(&mut self, id: ConversationId, cursor: Cursor, resets: u64) -> bool {
        let begun = self.begun.get(&id).copied().unwrap_or_default().max(self.all_begun);
        let known = self.acknowledged.get(&id);
        if resets < begun || known.is_some_and(|known| cursor.seq <= known.seq) {
            return false;
        }
        self.acknowledged.insert(id, cursor);
        self.fresh.insert(id, cursor);
        self.events += 1;
        true
    }

    /// What was acknowledged of a conversation is void.
    pub(super) fn forget(&mut self, id: ConversationId) {
        self.acknowledged.remove(&id);
        self.fresh.remove(&id);
    }

    /// What was handed out of a conversation is void, which the application is told.
    pub(super) fn reset(&mut self, id: ConversationId) {
        self.forget(id);
        self.resets += 1;
        self.begun.insert(id, self.resets);
    }

    /// Everything that was acknowledged is void.
    pub(super) fn reset_all(&mut self) {
        let resets = self.resets + 1;
        *self = Self {
            resets,
            all_begun: resets,
            ..Self::default()
        };
    }
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
