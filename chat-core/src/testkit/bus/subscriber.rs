//! [`TestSubscriber`], with which the cases check a bus, and the envelopes that the cases publish.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::bus::{BusMessage, MessageBus, Subscriber, Topic, Topics};
use crate::model::{ConversationId, NodeId};

/// A subscriber that waits at most ten seconds for an expected message.
#[derive(Debug)]
pub struct TestSubscriber {
    /// Handle that changes the topics of the subscriber.
    pub topics: Box<dyn Topics>,
    subscriber: Box<dyn Subscriber>,
    /// A topic to which only this subscriber subscribes.
    own_topic: Topic,
}

/// Maximum time until an expected message arrives.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

impl TestSubscriber {
    /// Connects to a bus and subscribes to these topics and to a topic of its own. Panics if the
    /// bus returns an error.
    pub async fn on(bus: &dyn MessageBus, topics: &[Topic]) -> Self {
        let subscriber = bus.connect().await.unwrap();
        let test = Self {
            topics: subscriber.topics(),
            subscriber,
            own_topic: Topic::Node(NodeId::random()),
        };
        for topic in topics {
            test.topics.subscribe(*topic).await.unwrap();
        }
        test.topics.subscribe(test.own_topic).await.unwrap();
        test
    }

    /// Returns the next message, or `None` once the bus is closed. Panics if no message arrives in
    /// time.
    pub async fn message(&mut self) -> Option<BusMessage> {
        let next = timeout(MESSAGE_TIMEOUT, self.subscriber.next()).await;
        next.expect("no message within ten seconds")
    }

    /// Returns the next envelope. Panics at a gap, because the bus must not lose envelopes here,
    /// and if the bus is closed or no message arrives in time.
    pub async fn envelope(&mut self) -> (Topic, Bytes) {
        match self.message().await {
            Some(BusMessage::Envelope(topic, bytes)) => (topic, bytes),
            other => panic!("expected an envelope, got {other:?}"),
        }
    }

    /// Publishes an envelope for this subscriber only, and returns the messages that arrive before
    /// that envelope. Panics if the bus is closed or the envelope does not arrive.
    pub async fn rest(&mut self, bus: &dyn MessageBus) -> Vec<BusMessage> {
        bus.publish(self.own_topic, Bytes::from_static(b"the end"))
            .await
            .unwrap();
        let mut rest = Vec::new();
        loop {
            match self.message().await {
                Some(BusMessage::Envelope(topic, _)) if topic == self.own_topic => return rest,
                Some(message) => rest.push(message),
                None => panic!("the bus was closed"),
            }
        }
    }

    /// Returns the next message, or `None` if the bus is closed or no message arrives within
    /// `max_wait`, after which the call of `next` is cancelled.
    pub async fn next_within(&mut self, max_wait: Duration) -> Option<BusMessage> {
        timeout(max_wait, self.subscriber.next()).await.ok().flatten()
    }
}

/// Topic of most cases.
pub(super) const TOPIC: Topic = Topic::Conversation(ConversationId(7));

/// Returns an envelope that contains a number.
pub(super) fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// Returns the number in the first four bytes of an envelope.
pub(super) fn number_in(bytes: &Bytes) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}
