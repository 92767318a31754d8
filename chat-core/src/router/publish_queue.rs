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

/// A bounded queue of envelopes. Senders never wait: an envelope that finds no room is dropped,
/// because announcements are repeated: by the node's heartbeats, or, in a program that announces
/// commits and sends no heartbeats, by
/// [`ClusterLink::flush`](super::cluster_link::ClusterLink::flush). Notices may be lost. Only the
/// newest doorbell of each conversation is queued. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct PublishQueue {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    max_envelopes: usize,
    state: Mutex<State>,
    added: Notify,
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Number of envelopes that were taken and are being published.
    publishing: usize,
    /// True if an envelope was dropped or could not be published since the last
    /// [`PublishQueue::flushed`].
    has_lost: bool,
    /// Newest doorbell of each conversation that has an [`Item::Doorbell`].
    doorbells: HashMap<ConversationId, Seq>,
}

/// An entry of the queue.
#[derive(Debug)]
enum Item {
    /// The doorbell of this conversation, whose `Seq` is in [`State::doorbells`].
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
                idle: Notify::new(),
            }),
        }
    }

    /// Queues a doorbell, or updates the queued doorbell of the same conversation.
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
            Entry::Vacant(_) => {
                state.has_lost = true;
                return;
            }
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
        } else {
            state.has_lost = true;
        }
    }

    /// Takes the oldest envelope; returns `None` if the queue is empty. The caller must report the
    /// end of its publication with [`done`](Self::done). A doorbell is encoded only now, with the
    /// newest `Seq` of its conversation.
    pub(crate) fn next(&self, codec: &EnvelopeCodec) -> Option<(Topic, Bytes)> {
        let mut state = self.inner.state.lock();
        let item = state.items.pop_front()?;
        state.publishing += 1;
        let conversation = match item {
            Item::Envelope(topic, envelope) => return Some((topic, envelope)),
            Item::Doorbell(conversation) => conversation,
        };
        let last_seq = state.doorbells.remove(&conversation).unwrap_or(Seq::ZERO);
        drop(state);
        let doorbell = Doorbell { conversation, last_seq };
        let envelope = codec.encode(Content::Doorbell(doorbell));
        Some((Topic::Conversation(conversation), envelope))
    }

    /// Reports that the publication of an envelope has ended, with or without success.
    pub(crate) fn done(&self, is_published: bool) {
        let mut state = self.inner.state.lock();
        state.publishing = state.publishing.saturating_sub(1);
        state.has_lost |= !is_published;
        if state.is_idle() {
            self.inner.idle.notify_waiters();
        }
    }

    /// Waits until no envelope is queued or being published. Returns whether no envelope was
    /// dropped, and none failed to be published, since the previous call.
    pub(crate) async fn flushed(&self) -> bool {
        loop {
            let idle = self.inner.idle.notified();
            {
                let mut state = self.inner.state.lock();
                if state.is_idle() {
                    return !std::mem::take(&mut state.has_lost);
                }
            }
            idle.await;
        }
    }

    /// Waits until an envelope was queued. Cancel safe; one task may wait at a time.
    pub(crate) async fn added(&self) {
        self.inner.added.notified().await;
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.items.is_empty() && self.publishing == 0
    }
}
