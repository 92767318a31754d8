//! Tests that envelopes are published concurrently, that queued doorbells merge, and that other
//! envelopes do not delay heartbeats.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::bus::{BusError, Subscriber};

/// A bus that accepts each envelope after a delay, and counts the envelopes for conversations,
/// which are doorbells in these tests.
#[derive(Clone, Debug)]
struct SlowBus {
    bus: MemoryBus,
    latency: Duration,
    doorbells: Arc<AtomicU32>,
}

#[async_trait::async_trait]
impl MessageBus for SlowBus {
    async fn publish(&self, topic: Topic, envelope: bytes::Bytes) -> Result<(), BusError> {
        tokio::time::sleep(self.latency).await;
        if matches!(topic, Topic::Conversation(_)) {
            self.doorbells.fetch_add(1, Ordering::Relaxed);
        }
        self.bus.publish(topic, envelope).await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        self.bus.connect().await
    }

    async fn close(&self) {}
}

fn slow(latency: Duration) -> SlowBus {
    SlowBus {
        bus: MemoryBus::new(),
        latency,
        doorbells: Arc::default(),
    }
}

fn doorbell(conversation: u64, seq: u64) -> Doorbell {
    Doorbell {
        conversation: ConversationId(conversation),
        last_seq: Seq(seq),
    }
}

/// Waits until the bus has accepted `count` doorbells, and returns how long that took.
async fn wait_for_doorbells(bus: &SlowBus, count: u32) -> Duration {
    let started = tokio::time::Instant::now();
    while bus.doorbells.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn publisher_overlaps_calls_to_the_bus() {
    let world = world().await;
    let bus = slow(Duration::from_millis(1));
    let router = node(&world, Some(Arc::new(bus.clone()))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for conversation in 0..4_000 {
        router.link.ring(doorbell(1_000 + conversation, 1));
    }
    let took = wait_for_doorbells(&bus, 4_000).await;
    assert!(took <= Duration::from_millis(150), "4000 in {took:?}");
}

#[tokio::test(start_paused = true)]
async fn queued_doorbells_of_one_conversation_are_merged() {
    let world = world().await;
    let bus = slow(Duration::from_millis(1));
    let router = node(&world, Some(Arc::new(bus.clone()))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut subscriber = bus.bus.connect().await.unwrap();
    subscriber
        .topics()
        .subscribe(Topic::Conversation(ConversationId(77)))
        .await
        .unwrap();
    for seq in 1..=10_000 {
        router.link.ring(doorbell(77, seq));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bus.doorbells.load(Ordering::Relaxed), 1);
    let crate::bus::BusMessage::Envelope(_, envelope) = subscriber.next().await.unwrap() else {
        panic!("expected an envelope");
    };
    let codec = EnvelopeCodec {
        epoch: world.store.epoch().await.unwrap(),
        node: NodeId::random(),
        incarnation: 1,
    };
    let read = codec.decode(envelope).unwrap();
    assert_eq!(read.content, Content::Doorbell(doorbell(77, 10_000)));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_are_not_delayed_by_other_envelopes() {
    let world = world().await;
    // With this latency, publishing 1,000 doorbells takes about 14 s, so the queue is never empty
    // during the rounds.
    let bus = slow(Duration::from_millis(900));
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // A node that misses heartbeats of the other one reads the store more often, in sweeps.
    let before = (here.stats().sweeps, there.stats().sweeps);
    for round in 0..20 {
        for conversation in 0..1_000 {
            here.link.ring(doorbell(1_000 + conversation, round));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        (here.stats().sweeps, there.stats().sweeps),
        before,
        "every heartbeat arrives in time"
    );
}
