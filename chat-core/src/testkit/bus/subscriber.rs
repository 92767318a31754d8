//! What the cases listen with.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::bus::{BusMessage, MessageBus, Subscriber, Topic, Topics};
use crate::model::{ConversationId, NodeId};

/// A subscriber that does not wait for ever: ten seconds for what must come.
#[derive(Debug)]
pub struct TestSubscriber {
    /// What it listens to.
    pub topics: Box<dyn Topics>,
    subscriber: Box<dyn Subscriber>,
    /// A topic that nobody else has.
    own: Topic,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl TestSubscriber {
    /// Connects and subscribes.
    pub async fn on(bus: &dyn MessageBus, topics: &[Topic]) -> Self {
        let subscriber = bus.connect().await.unwrap();
        let test = Self {
            topics: subscriber.topics(),
            subscriber,
            own: Topic::Node(NodeId::random()),
        };
        for topic in topics {
            test.topics.subscribe(*topic).await.unwrap();
        }
        test.topics.subscribe(test.own).await.unwrap();
        test
    }

    /// The next delivery of any kind; `None` once the bus is closed.
    pub async fn delivery(&mut self) -> Option<BusMessage> {
        let next = timeout(PATIENCE, self.subscriber.next()).await;
        next.expect("something is delivered, or the end is told")
    }

    /// The next envelope. A gap is no answer: nothing was lost.
    pub async fn envelope(&mut self) -> (Topic, Bytes) {
        match self.delivery().await {
            Some(BusMessage::Envelope(topic, bytes)) => (topic, bytes),
            other => panic!("an envelope was to come, not {other:?}"),
        }
    }

    /// Everything that comes before something that is published now.
    pub async fn rest(&mut self, bus: &dyn MessageBus) -> Vec<BusMessage> {
        bus.publish(self.own, Bytes::from_static(b"the end")).await.unwrap();
        let mut rest = Vec::new();
        loop {
            match self.delivery().await {
                Some(BusMessage::Envelope(topic, _)) if topic == self.own => return rest,
                Some(delivery) => rest.push(delivery),
                None => panic!("the bus was closed"),
            }
        }
    }

    /// Gives the wait for something up, at once or a little later.
    pub async fn give_up(&mut self, after: Duration) -> Option<BusMessage> {
        timeout(after, self.subscriber.next()).await.ok().flatten()
    }
}

pub(super) const ROOM: Topic = Topic::Conversation(ConversationId(7));

pub(super) fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

pub(super) fn read(bytes: &Bytes) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}
