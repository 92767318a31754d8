//! What waits to be published.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::bus::{BusError, Subscriber};

/// Takes each envelope after a while, and counts.
#[derive(Clone, Debug)]
struct Slow {
    bus: MemoryBus,
    latency: Duration,
    doorbells: Arc<AtomicU32>,
}

#[async_trait::async_trait]
impl MessageBus for Slow {
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

fn slow(latency: Duration) -> Slow {
    Slow {
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

/// Until the bus has taken so many doorbells.
async fn taken(bus: &Slow, count: u32) -> Duration {
    let began = tokio::time::Instant::now();
    while bus.doorbells.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn envelopes_do_not_wait_for_each_other() {
    let world = world().await;
    let bus = slow(Duration::from_millis(1));
    let router = node(&world, Some(Arc::new(bus.clone()))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for conversation in 0..4_000 {
        router.link.ring(doorbell(1_000 + conversation, 1));
    }
    let took = taken(&bus, 4_000).await;
    assert!(took <= Duration::from_millis(150), "4000 in {took:?}");
}

#[tokio::test(start_paused = true)]
async fn doorbells_of_one_conversation_wait_as_one() {
    let world = world().await;
    let bus = slow(Duration::from_millis(1));
    let router = node(&world, Some(Arc::new(bus.clone()))).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut ear = bus.bus.connect().await.unwrap();
    ear.topics()
        .subscribe(Topic::Conversation(ConversationId(77)))
        .await
        .unwrap();
    for seq in 1..=10_000 {
        router.link.ring(doorbell(77, seq));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bus.doorbells.load(Ordering::Relaxed), 1);
    let crate::bus::BusMessage::Envelope(_, envelope) = ear.next().await.unwrap() else {
        panic!("a gap");
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
async fn beacons_do_not_wait_for_what_is_rung() {
    let world = world().await;
    // So slow that what is rung takes more than a minute.
    let bus = slow(Duration::from_millis(900));
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
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
        "everybody is heard all the time"
    );
}
