//! Tests of announcers: routers of programs that announce commits and receive nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::bus::{BusError, BusMessage, Subscriber};
use crate::router::SessionSelector;

/// A bus that refuses the first `refusals` envelopes and accepts the later ones. It refuses
/// connections of subscribers.
#[derive(Debug)]
struct RefusingBus {
    bus: MemoryBus,
    refusals: AtomicU32,
}

#[async_trait::async_trait]
impl MessageBus for RefusingBus {
    async fn publish(&self, topic: Topic, envelope: bytes::Bytes) -> Result<(), BusError> {
        let refuse = |left: u32| left.checked_sub(1);
        if self
            .refusals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse)
            .is_ok()
        {
            return Err(BusError::Unavailable("refused".into()));
        }
        self.bus.publish(topic, envelope).await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        Err(BusError::Closed)
    }

    async fn close(&self) {}
}

async fn announcer(world: &World, bus: Arc<dyn MessageBus>) -> Router {
    let parts = parts(world, Arc::clone(&world.store), Some(bus), without_sweeps()).await;
    Router::start_announcer(parts)
}

#[tokio::test(start_paused = true)]
async fn announcer_notifies_the_nodes_and_is_not_listed_as_a_node() {
    let world = world().await;
    let bus = Arc::new(MemoryBus::new());
    let node = node(&world, Some(bus.clone())).await;
    let mut bob = Reader::attach(&node, world.bob, 1).await;
    let mut listener = bus.connect().await.unwrap();
    listener.topics().subscribe(Topic::Control).await.unwrap();
    let others = node.nodes.others.ids();
    let sweeps = node.stats().sweeps;

    let announcer = announcer(&world, bus).await;
    send_message(&world, &announcer, "closed for maintenance").await;
    assert_eq!(bob.seqs(1).await, [1]);
    assert!(announcer.flush_announcements().await);
    announcer.shutdown().await;
    tokio::time::sleep(SETTLE_TIME).await;
    assert_eq!((node.nodes.others.ids(), node.stats().sweeps), (others, sweeps));
    let epoch = world.store.epoch().await.unwrap();
    let codec = EnvelopeCodec {
        epoch,
        node: NodeId::random(),
        incarnation: 1,
    };
    let mut senders = std::collections::HashSet::new();
    while let Ok(Some(BusMessage::Envelope(_, envelope))) = timeout(Duration::ZERO, listener.next()).await {
        senders.extend(codec.decode(envelope).map(|received| received.node));
    }
    assert!(senders.len() <= 1, "only the node sends heartbeats: {senders:?}");
}

#[tokio::test(start_paused = true)]
async fn flush_repeats_envelopes_that_the_bus_refused() {
    let world = world().await;
    for (refusals, is_accepted) in [(0, true), (2, true), (1_000, false)] {
        let bus = Arc::new(RefusingBus {
            bus: MemoryBus::new(),
            refusals: AtomicU32::new(refusals),
        });
        let mut listener = bus.bus.connect().await.unwrap();
        for topic in [Topic::Conversation(world.group), Topic::User(world.bob)] {
            listener.topics().subscribe(topic).await.unwrap();
        }
        let announcer = announcer(&world, bus.clone()).await;
        send_message(&world, &announcer, "x").await;
        announcer.close_sessions(world.bob, SessionSelector::All, CloseCode::Revoked);
        assert_eq!(announcer.flush_announcements().await, is_accepted, "{refusals}");
        let mut topics = std::collections::HashSet::new();
        while let Ok(Some(BusMessage::Envelope(topic, _))) = timeout(Duration::ZERO, listener.next()).await {
            topics.insert(topic);
        }
        assert_eq!(topics.len(), if is_accepted { 2 } else { 0 }, "{refusals}");
        announcer.shutdown().await;
    }
}

/// A node with too many unconfirmed commits asks the other nodes in its heartbeats to compare
/// everything with the store. An announcer sends no heartbeats, so it has to ask at once.
#[tokio::test(start_paused = true)]
async fn announcer_with_too_many_unconfirmed_commits_makes_the_nodes_sweep() {
    let world = world().await;
    let bus = Arc::new(MemoryBus::new());
    let node = node(&world, Some(bus.clone())).await;
    let announcer = announcer(&world, bus).await;
    tokio::time::sleep(SETTLE_TIME).await;
    let sweeps = node.stats().sweeps;
    // One more than the router tracks.
    let commits = (1..=16_001).map(|conversation| UnconfirmedCommit {
        conversation: ConversationId(1_000_000 + conversation),
        first_seq: Seq(1),
        last_seq: Seq(1),
        joined: Vec::new(),
    });
    announcer.track_unconfirmed(commits);
    assert!(announcer.flush_announcements().await);
    tokio::time::sleep(SETTLE_TIME).await;
    assert!(node.stats().sweeps > sweeps);
    announcer.shutdown().await;
}
