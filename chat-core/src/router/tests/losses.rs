//! Tests that losses are repaired, most within [`REPAIR_TIMEOUT`]: between nodes whose bus loses
//! some or all messages, after failed subscriptions, and after unconfirmed commits. Also tests that
//! sweeps recheck logins, and that a wrong clock is detected.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::*;
use crate::bus::{BusError, Subscriber, Topics};
use crate::clock::{Clock, SystemClock};
use crate::cluster::{NodeInfo, Nodes};
use crate::model::StoreEpoch;
use crate::testkit::store::FaultyStore;

/// The kinds of calls that a [`FailingBus`] currently refuses.
#[derive(Clone, Debug, Default)]
struct Failures {
    publishing: Arc<AtomicBool>,
    subscribing: Arc<AtomicBool>,
}

/// A bus, a subscriber or its topics, with calls that are refused. A refused change of
/// subscriptions takes effect nevertheless, like on a bus client that applies it after a reconnect.
#[derive(Clone, Debug)]
struct FailingBus<T>(T, Failures);

fn injected_error() -> BusError {
    BusError::Unavailable("injected by a test".into())
}

#[async_trait::async_trait]
impl MessageBus for FailingBus<MemoryBus> {
    async fn publish(&self, topic: Topic, envelope: bytes::Bytes) -> Result<(), BusError> {
        if self.1.publishing.load(Ordering::Relaxed) {
            return Err(injected_error());
        }
        self.0.publish(topic, envelope).await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        Ok(Box::new(FailingBus(self.0.connect().await?, self.1.clone())))
    }

    async fn close(&self) {}
}

#[async_trait::async_trait]
impl Subscriber for FailingBus<Box<dyn Subscriber>> {
    fn topics(&self) -> Box<dyn Topics> {
        Box::new(FailingBus(self.0.topics(), self.1.clone()))
    }

    async fn next(&mut self) -> Option<crate::bus::BusMessage> {
        self.0.next().await
    }
}

impl FailingBus<Box<dyn Topics>> {
    fn answer(&self, done: Result<(), BusError>) -> Result<(), BusError> {
        match self.1.subscribing.load(Ordering::Relaxed) {
            true => Err(injected_error()),
            false => done,
        }
    }
}

#[async_trait::async_trait]
impl Topics for FailingBus<Box<dyn Topics>> {
    async fn subscribe(&self, topic: Topic) -> Result<(), BusError> {
        self.answer(self.0.subscribe(topic).await)
    }

    async fn unsubscribe(&self, topic: Topic) -> Result<(), BusError> {
        self.answer(self.0.unsubscribe(topic).await)
    }
}

/// Sends a message from one node, and checks that it reaches a reader within [`REPAIR_TIMEOUT`].
async fn expect_delivery(world: &World, from: &Router, to: &mut Reader) {
    let sent = tokio::time::Instant::now();
    send_message(world, from, "x").await;
    to.event().await;
    assert!(sent.elapsed() <= REPAIR_TIMEOUT, "{:?}", sent.elapsed());
}

#[tokio::test(start_paused = true)]
async fn node_cut_off_from_the_bus_is_found_in_the_store() {
    for round in 0..20_u64 {
        let world = world().await;
        let failures = Failures::default();
        let hub = MemoryBus::new();
        let ids = [NodeId([1; 16]), NodeId([2; 16])];
        let here = node_with_id(&world, ids[0], Arc::new(FailingBus(hub.clone(), failures.clone()))).await;
        let there = node_with_id(&world, ids[1], Arc::new(hub)).await;
        let info = |id: NodeId| NodeInfo {
            id,
            incarnation: 1,
            addresses: Vec::new(),
            sessions: 0,
            accepts_no_sessions: false,
        };
        let discovered: watch::Sender<Nodes> = watch::Sender::new(Arc::from(ids.map(info)));
        there.watch_nodes(discovered.subscribe());
        let mut bob = Reader::attach(&there, world.bob, 1).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        // The discovery uses the same service as the bus, so the node's entry there expires some
        // time later.
        failures.publishing.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(round * 700)).await;
        expect_delivery(&world, &here, &mut bob).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        discovered.send_replace(Arc::from([info(ids[1])]));
        tokio::time::sleep(Duration::from_millis(round * 1_700)).await;
        for _ in 0..5 {
            expect_delivery(&world, &here, &mut bob).await;
            tokio::time::sleep(Duration::from_millis(1_350)).await;
        }
        // Once the node's heartbeats arrive again, its peer stops polling.
        failures.publishing.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let sweeps = there.stats().sweeps;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(there.stats().sweeps, sweeps);
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_without_a_bus_find_each_others_events() {
    for round in 0..10_u64 {
        let world = world().await;
        let here = node(&world, None).await;
        let mut bob_here = Reader::attach(&here, world.bob, 1).await;
        tokio::time::sleep(Duration::from_millis(370 * round)).await;
        let there = node(&world, None).await;
        let mut bob = Reader::attach(&there, world.bob, 2).await;
        for _ in 0..5 {
            // In the first iteration, the nodes do not know of each other yet.
            expect_delivery(&world, &there, &mut bob_here).await;
            bob.event().await;
            expect_delivery(&world, &here, &mut bob).await;
            bob_here.event().await;
            tokio::time::sleep(Duration::from_millis(1_350)).await;
        }
        // A user who joined a conversation on `here` follows it on `there`.
        let user = world.bob;
        super::races::leave(&world, &here, user, EventBody::MemberLeft { user }).await;
        bob.event().await;
        super::races::join(&world, &here, user).await;
        send_message(&world, &here, "welcome").await;
        assert_eq!(bob.seqs(2).await, [12, 13]);
        drop((here, bob_here));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let sweeps = there.stats().sweeps;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(there.stats().sweeps, sweeps, "a node without peers does not poll");
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_another_node_arrive_soon_after_an_outage_of_the_store() {
    let world = world().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&world.store)));
    let here = node(&world, None).await;
    let there = node_over(&world, store.clone(), None).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    store.set_unavailable(true);
    tokio::time::sleep(Duration::from_secs(100)).await;
    store.set_unavailable(false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    expect_delivery(&world, &here, &mut bob).await;
}

#[tokio::test(start_paused = true)]
async fn next_session_gets_notices_after_a_failed_unsubscription() {
    let world = world().await;
    let failures = Failures::default();
    let bus: Arc<dyn MessageBus> = Arc::new(FailingBus(MemoryBus::new(), failures.clone()));
    let here = node(&world, Some(Arc::clone(&bus))).await;
    let there = node(&world, Some(bus)).await;
    let bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    failures.subscribing.store(true, Ordering::Relaxed);
    drop(bob);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    failures.subscribing.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Notices are not repeated, so this one arrives only if the node is subscribed.
    let typing = Push::Typing {
        conversation: world.group,
        user: world.alice,
        stopped: false,
    };
    here.notify_conversation(world.group, &typing, None);
    assert_eq!(bob.next().await, typing);
    let sent = tokio::time::Instant::now();
    send_message(&world, &here, "x").await;
    bob.event().await;
    assert!(sent.elapsed() < Duration::from_millis(100), "{:?}", sent.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refused_topic_request_leaves_no_waiter() {
    let world = world().await;
    let failures = Failures::default();
    let router = node(&world, Some(Arc::new(FailingBus(MemoryBus::new(), failures.clone())))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    failures.subscribing.store(true, Ordering::Relaxed);
    for device in 0..50 {
        drop(Reader::attach(&router, world.bob, device).await);
    }
    let topics = router.topics.as_ref().unwrap();
    assert_eq!(topics.waiter_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn unconfirmed_commit_is_delivered_on_every_node() {
    for has_bus in [false, true] {
        let world = world().await;
        let hub: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
        let bus = || has_bus.then(|| Arc::clone(&hub));
        let here = node(&world, bus()).await;
        let there = node(&world, bus()).await;
        let mut bob = Reader::attach(&here, world.bob, 1).await;
        let mut bob_there = Reader::attach(&there, world.bob, 2).await;
        let user = world.bob;
        super::races::leave(&world, &here, user, EventBody::MemberLeft { user }).await;
        for reader in [&mut bob, &mut bob_there] {
            assert_eq!(reader.event().await.seq, Seq(1));
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let unconfirmed = |seq, joined| UnconfirmedCommit {
            conversation: world.group,
            first_seq: Seq(seq),
            last_seq: Seq(seq),
            joined,
        };
        // This commit is never written: another event will get its `Seq`.
        here.track_unconfirmed([unconfirmed(2, Vec::new())]);
        tokio::time::sleep(Duration::from_secs(20)).await;
        // This commit is written only some time after the store failed to confirm it.
        here.track_unconfirmed([unconfirmed(2, vec![user])]);
        tokio::time::sleep(Duration::from_secs(4)).await;
        super::races::commit_change(&world, user, EventBody::MemberJoined { user, by: None }).await;
        let committed = tokio::time::Instant::now();
        for reader in [&mut bob, &mut bob_there] {
            assert_eq!(reader.event().await.seq, Seq(2));
        }
        assert!(committed.elapsed() <= REPAIR_TIMEOUT, "{:?}", committed.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn unconfirmed_commit_is_tracked_until_the_store_has_answered() {
    let world = world().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&world.store)));
    let here = node_over(&world, store.clone(), None).await;
    let mut bob = Reader::attach(&here, world.bob, 1).await;
    store.set_unavailable(true);
    let lost = append(&*world.store, world.group, world.alice, vec![NewEvent::message("lost")]);
    lost.await.unwrap();
    let unconfirmed = |seq| UnconfirmedCommit {
        conversation: world.group,
        first_seq: Seq(seq),
        last_seq: Seq(seq),
        joined: Vec::new(),
    };
    here.track_unconfirmed([unconfirmed(1)]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    store.set_unavailable(false);
    assert_eq!(bob.event().await.seq, Seq(1));
    here.track_unconfirmed([unconfirmed(2)]);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(
        here.unconfirmed.conversation_count(),
        0,
        "the commit was not written, and is no longer tracked"
    );
}

#[tokio::test(start_paused = true)]
async fn sweep_rechecks_logins() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 1, 0, 0);
    let parts = || RouterParts {
        clock: Arc::new(SystemClock),
        log: log(&world.store),
        bus: Some(Arc::new(bus.clone())),
        presence: Arc::new(MemoryPresence::new()),
        node: NodeId::random(),
        incarnation: 1,
        epoch: StoreEpoch::random(),
        config: RouterConfig::default(),
    };
    let there = Router::start(parts()).await.unwrap();
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    // The store knows a lower session epoch of this device, for example because it was restored
    // from a backup.
    let mut newer_than_the_store = Reader::of(
        there
            .subscribe(
                Caller::login(world.bob, DeviceId([2; 16]), SessionEpoch(7)),
                Outbox::new(OutboxLimits::default()),
            )
            .await
            .unwrap()
            .0,
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    super::cluster::replace_login(&world, world.bob, 1).await;
    let outbox = Arc::clone(bob.guard.outbox());
    timeout(Duration::from_secs(45), outbox.ready()).await.unwrap();
    assert_eq!(bob.next().await, Push::Closed(CloseCode::Replaced));
    assert_eq!(newer_than_the_store.next().await, Push::Closed(CloseCode::Replaced));
}

#[tokio::test(start_paused = true)]
async fn router_detects_a_wrong_clock_and_its_correction() {
    #[derive(Debug)]
    struct StoppedClock;
    impl Clock for StoppedClock {
        fn now(&self) -> crate::model::Timestamp {
            crate::model::Timestamp(1_000_000_000)
        }
    }
    let world = world().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&world.store)));
    let router = Router::start(RouterParts {
        clock: Arc::new(StoppedClock),
        log: log(&(store.clone() as Arc<dyn Store>)),
        bus: None,
        presence: Arc::new(MemoryPresence::new()),
        node: NodeId::random(),
        incarnation: 1,
        epoch: StoreEpoch::random(),
        config: RouterConfig::default(),
    });
    let router = router.await.unwrap();
    for (offset_ms, is_wrong) in [
        (0, false),
        (-3_000, false),
        (300_000, false),
        (300_001, true),
        (-400_000, true),
        (1_000, false),
        (i64::MAX - 1_000_000_000, true),
    ] {
        store.set_time(Some(crate::model::Timestamp(1_000_000_000 + offset_ms)));
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(router.is_clock_wrong(), is_wrong, "{offset_ms}");
    }
    store.set_time(None);
}
