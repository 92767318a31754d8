//! A message bus inside one process.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::{BusError, BusMessage, MessageBus, Subscriber, Topic, Topics};
use crate::sync::Mutex;

/// Maximum number of messages that wait for one subscriber. If another envelope arrives, a
/// [`BusMessage::Gap`] replaces the waiting messages, and the envelope follows it.
const MAX_QUEUED: usize = 4096;
/// Maximum total size of the envelopes that wait for one subscriber, in bytes. If another envelope
/// would exceed it, a [`BusMessage::Gap`] replaces the waiting messages, and the envelope follows
/// it, even if that envelope alone is larger than the maximum.
const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// A bus between engines of one process. Clones are handles to the same bus. It loses no envelope,
/// unless more than 4096 messages or 16 MiB of envelopes would wait for a subscriber.
#[derive(Clone, Debug, Default)]
pub struct MemoryBus {
    hub: Arc<Mutex<Hub>>,
}

/// State that all handles to a bus share.
#[derive(Debug, Default)]
struct Hub {
    subscribers: Vec<Arc<Mailbox>>,
    closed: bool,
}

/// Topics and queue of one subscriber.
#[derive(Debug, Default)]
struct Mailbox {
    state: Mutex<MailboxState>,
    /// Wakes the subscriber when a message arrives, or when the bus is closed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct MailboxState {
    topics: HashSet<Topic>,
    queue: VecDeque<BusMessage>,
    /// Size of the envelopes in `queue`.
    bytes: usize,
    closed: bool,
}

impl MemoryBus {
    /// Creates a bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Mailbox {
    /// Queues an envelope if the subscriber has subscribed to its topic.
    fn deliver(&self, topic: Topic, envelope: &Bytes) {
        let mut state = self.state.lock();
        if !state.topics.contains(&topic) {
            return;
        }
        if state.queue.len() >= MAX_QUEUED || state.bytes.saturating_add(envelope.len()) > MAX_QUEUED_BYTES {
            state.queue.clear();
            state.queue.push_back(BusMessage::Gap);
            state.bytes = 0;
        }
        state.bytes += envelope.len();
        state.queue.push_back(BusMessage::Envelope(topic, envelope.clone()));
        drop(state);
        self.changed.notify_one();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }
}

#[async_trait]
impl MessageBus for MemoryBus {
    async fn publish(&self, topic: Topic, envelope: Bytes) -> Result<(), BusError> {
        let hub = self.hub.lock();
        if hub.closed {
            return Err(BusError::Closed);
        }
        hub.subscribers
            .iter()
            .for_each(|mailbox| mailbox.deliver(topic, &envelope));
        Ok(())
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        let mut hub = self.hub.lock();
        if hub.closed {
            return Err(BusError::Closed);
        }
        let mailbox = Arc::new(Mailbox::default());
        hub.subscribers.push(Arc::clone(&mailbox));
        drop(hub);
        Ok(Box::new(MemorySubscriber {
            bus: self.clone(),
            mailbox,
        }))
    }

    async fn close(&self) {
        let mut hub = self.hub.lock();
        hub.closed = true;
        hub.subscribers.drain(..).for_each(|mailbox| mailbox.close());
    }
}

#[derive(Debug)]
struct MemorySubscriber {
    bus: MemoryBus,
    mailbox: Arc<Mailbox>,
}

impl Drop for MemorySubscriber {
    fn drop(&mut self) {
        self.bus
            .hub
            .lock()
            .subscribers
            .retain(|other| !Arc::ptr_eq(other, &self.mailbox));
    }
}

#[async_trait]
impl Subscriber for MemorySubscriber {
    fn topics(&self) -> Box<dyn Topics> {
        Box::new(MemoryTopics(Arc::clone(&self.mailbox)))
    }

    async fn next(&mut self) -> Option<BusMessage> {
        loop {
            {
                let mut state = self.mailbox.state.lock();
                if let Some(message) = state.queue.pop_front() {
                    if let BusMessage::Envelope(_, envelope) = &message {
                        state.bytes -= envelope.len();
                    }
                    return Some(message);
                }
                if state.closed {
                    return None;
                }
            }
            self.mailbox.changed.notified().await;
        }
    }
}

#[derive(Debug)]
struct MemoryTopics(Arc<Mailbox>);

#[async_trait]
impl Topics for MemoryTopics {
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(BusError::Closed);
        }
        state.topics.insert(topic);
        Ok(())
    }

    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError> {
        self.0.state.lock().topics.remove(&topic);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn mailbox_is_bounded_in_bytes() {
        let bus = MemoryBus::new();
        let mut subscriber = bus.connect().await.unwrap();
        subscriber.topics().subscribe(Topic::Control).await.unwrap();
        let envelope = Bytes::from(vec![0; 1024 * 1024]);
        for _ in 0..100 {
            bus.publish(Topic::Control, envelope.clone()).await.unwrap();
            let bytes = bus.hub.lock().subscribers[0].state.lock().bytes;
            assert!(bytes <= MAX_QUEUED_BYTES, "{bytes}");
        }
        assert_eq!(subscriber.next().await, Some(BusMessage::Gap));
        while bus.hub.lock().subscribers[0].state.lock().bytes > 0 {
            assert!(matches!(subscriber.next().await, Some(BusMessage::Envelope(..))));
        }
    }
}
