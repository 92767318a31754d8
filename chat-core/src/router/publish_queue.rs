//! Envelopes that wait to be published on the bus.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::envelope::{Content, Doorbell, EnvelopeCodec};
use crate::bus::Topic;
use crate::model::{ConversationId, Seq};
use crate::sync::Mutex;

/// A bounded queue of envelopes. Nothing waits for room in it: an envelope that finds none is
/// dropped, because heartbeats repeat the announcements. Of a conversation's doorbells, only the
/// newest is queued. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct PublishQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    max_envelopes: usize,
    state: Mutex<State>,
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Newest doorbell of each conversation that has an [`Item::Doorbell`].
    doorbells: HashMap<ConversationId, Seq>,
}

#[derive(Debug)]
enum Item {
    Doorbell(ConversationId),
    Envelope(Topic, Bytes),
}

impl PublishQueue {
    pub(crate) fn new(max_envelopes: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                max_envelopes: max_envelopes.max(1),
                state: Mutex::default(),
                added: Notify::new(),
            }),
        }
    }

    /// Queues a doorbell, or moves the queued one of the same conversation up to it.
    pub(crate) fn ring(&self, doorbell: Doorbell) {
        let mut state = self.inner.state.lock();
        let has_room = state.items.len() < self.inner.max_envelopes;
        match state.doorbells.entry(doorbell.conversation) {
            Entry::Occupied(mut entry) => {
                let newest = doorbell.last_seq.max(*entry.get());
                entry.insert(newest);
                return;
            }
            Entry::Vacant(entry) if has_room => drop(entry.insert(doorbell.last_seq)),
            Entry::Vacant(_) => return,
        }
        state.items.push_back(Item::Doorbell(doorbell.conversation));
        drop(state);
        self.inner.added.notify_one();
    }

    /// Queues an envelope.
    pub(crate) fn send(&self, topic: Topic, envelope: Bytes) {
        let mut state = self.inner.state.lock();
        if state.items.len() < self.inner.max_envelopes {
            state.items.push_back(Item::Envelope(topic, envelope));
            drop(state);
            self.inner.added.notify_one();
        }
    }

    /// Takes the oldest envelope. A doorbell is encoded only now, with the newest place of its
    /// conversation.
    pub(crate) fn next(&self, codec: &EnvelopeCodec) -> Option<(Topic, Bytes)> {
        let mut state = self.inner.state.lock();
        let conversation = match state.items.pop_front()? {
            Item::Envelope(topic, envelope) => return Some((topic, envelope)),
            Item::Doorbell(conversation) => conversation,
        };
        let last_seq = state.doorbells.remove(&conversation).unwrap_or(Seq::ZERO);
        drop(state);
        let doorbell = Doorbell { conversation, last_seq };
        let envelope = codec.encode(Content::Doorbell(doorbell));
        Some((Topic::Conversation(conversation), envelope))
    }

    /// Waits until an envelope was queued. Cancel safe; one task may wait at a time.
    pub(crate) async fn added(&self) {
        self.inner.added.notified().await;
    }
}
