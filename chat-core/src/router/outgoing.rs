//! What is on its way to the bus. Nobody waits for it: what finds no room is dropped, because beacons repeat what matters.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Shared;
use super::envelope::{Content, Doorbell, Writer};
use super::shared::Link;
use crate::bus::{BusError, MessageBus, Topic};
use crate::model::{ConversationId, Seq};

/// Envelopes that are handed to the bus before it has taken the first of them. With an answer after 0.5 ms one at a time would be at
/// most 2 000 a second for the whole node.
const AT_ONCE: usize = 64;

/// A bounded queue. Of a conversation's doorbells only the newest waits.
#[derive(Debug)]
pub(super) struct Outgoing {
    most: usize,
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// How far each conversation that has its turn among `items` has got.
    doorbells: HashMap<ConversationId, Seq>,
}

#[derive(Debug)]
enum Item {
    Doorbell(ConversationId),
    Envelope(Topic, Bytes),
}

impl Outgoing {
    /// Has room for so many envelopes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            waiting: Mutex::default(),
            added: Notify::new(),
        }
    }

    pub(super) fn ring(&self, doorbell: Doorbell) {
        let mut waiting = self.waiting();
        let has_room = waiting.items.len() < self.most;
        match waiting.doorbells.entry(doorbell.conversation) {
            Entry::Occupied(mut entry) => {
                let newest = doorbell.last_seq.max(*entry.get());
                entry.insert(newest);
                return;
            }
            Entry::Vacant(entry) if has_room => drop(entry.insert(doorbell.last_seq)),
            Entry::Vacant(_) => return,
        }
        waiting.items.push_back(Item::Doorbell(doorbell.conversation));
        drop(waiting);
        self.added.notify_one();
    }

    pub(super) fn send(&self, topic: Topic, envelope: Bytes) {
        let mut waiting = self.waiting();
        if waiting.items.len() < self.most {
            waiting.items.push_back(Item::Envelope(topic, envelope));
            drop(waiting);
            self.added.notify_one();
        }
    }

    fn next(&self, writer: &Writer) -> Option<(Topic, Bytes)> {
        let mut waiting = self.waiting();
        let conversation = match waiting.items.pop_front()? {
            Item::Envelope(topic, envelope) => return Some((topic, envelope)),
            Item::Doorbell(conversation) => conversation,
        };
        let last_seq = waiting.doorbells.remove(&conversation).unwrap_or(Seq::ZERO);
        drop(waiting);
        let doorbell = Doorbell { conversation, last_seq };
        Some((
            Topic::Conversation(conversation),
            writer.write(Content::Doorbell(doorbell)),
        ))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Publishes what waits in one of the link's queues. They are begun in the order in which they came.
pub(super) async fn run(shared: Arc<Shared>, bus: Arc<dyn MessageBus>, queue: fn(&Link) -> &Outgoing) {
    let Some(link) = &shared.link else { return };
    let queue = queue(link);
    let mut running = FuturesUnordered::new();
    let mut failing = false;
    loop {
        while running.len() < AT_ONCE {
            let Some((topic, envelope)) = queue.next(&shared.writer) else {
                break;
            };
            running.push(timeout(shared.config.bus_timeout, bus.publish(topic, envelope)));
        }
        tokio::select! {
            // What ends makes room for what begins.
            biased;
            Some(result) = running.next() => note(&mut failing, result.unwrap_or_else(|_| Err(late()))),
            () = queue.added.notified(), if running.len() < AT_ONCE => {}
        }
    }
}

fn late() -> BusError {
    BusError::Unavailable("it did not answer in time".into())
}

/// A failure is repaired by the next beacon that gets through; the first is told.
fn note(failing: &mut bool, result: Result<(), BusError>) {
    if let Err(error) = &result
        && !*failing
    {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "the bus does not take what happens here");
    }
    *failing = result.is_err();
}
