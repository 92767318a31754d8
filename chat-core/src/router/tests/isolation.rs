//! Tests that the router continues while one session, log, store or bus is slow or fails, and that
//! many sessions share one encoding of a push.

use std::collections::HashSet;

use super::*;
use crate::bus::{BusError, MessageBus, Subscriber, Topics};
use crate::testkit::store::FaultyStore;

#[tokio::test(start_paused = true)]
async fn ten_thousand_sessions_share_one_encoding() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut sessions = Vec::new();
    for number in 0..10_000_u32 {
        let mut device = DeviceId([0; 16]);
        device.0[..4].copy_from_slice(&number.to_be_bytes());
        let caller = Caller::login(world.bob, device, SessionEpoch(0));
        let outbox = Outbox::new(OutboxLimits::default());
        sessions.push(router.subscribe(caller, outbox).await.unwrap().0);
    }
    send_message(&world, &router, "to all").await;
    let mut frames = HashSet::new();
    let mut taken = Vec::new();
    for session in &sessions {
        session.outbox().drain(usize::MAX, &mut taken);
        assert_eq!(taken.len(), 1);
        frames.extend(taken.drain(..).map(|push| push.frame().as_ptr()));
    }
    assert_eq!(frames.len(), 1, "all frames are the same bytes in memory");
    drop(sessions);
    assert_eq!((router.stats().sessions, router.stats().conversations), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn slow_reader_stays_within_its_limits_and_delays_no_other_session() {
    let world = world().await;
    let router = node(&world, None).await;
    let slow = Reader::attach(&router, world.bob, 1).await;
    let mut quick = Reader::attach(&router, world.carol, 1).await;
    let started = std::time::Instant::now();
    for n in 1..=500 {
        send_message(&world, &router, &"x".repeat(4096)).await;
        assert_eq!(quick.event().await.seq, Seq(n));
        let (packets, bytes) = slow.guard.outbox().queued();
        assert!(packets <= 256 && bytes <= 256 * 1024, "{packets} {bytes}");
    }
    let stalled = |after| slow.guard.outbox().stalled_for(started + after);
    assert!(stalled(Duration::from_secs(90)).unwrap() >= Duration::from_secs(30));
    let mut taken = Vec::new();
    slow.guard.outbox().drain(usize::MAX, &mut taken);
    assert_eq!(
        stalled(Duration::from_secs(90)),
        None,
        "a session that reads is not stalled"
    );
}

#[tokio::test(start_paused = true)]
async fn unreadable_log_does_not_delay_catch_up_of_another_conversation() {
    let world = world().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&world.store)));
    store.set_unreadable(Some(world.group));
    let router = node_over(&world, store.clone(), None).await;
    let mut carol = Reader::attach(&router, world.carol, 1).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    let lost = append(&*world.store, world.group, world.alice, vec![NewEvent::message("lost")]);
    lost.await.unwrap();
    send_message(&world, &router, "reveals the gap").await;
    for _ in 0..20 {
        append(
            &*world.store,
            world.direct,
            world.alice,
            vec![NewEvent::message("lost")],
        )
        .await
        .unwrap();
        let announced = append(
            &*world.store,
            world.direct,
            world.alice,
            vec![NewEvent::message("announced")],
        );
        router.committed(&announced.await.unwrap());
        for _ in 0..2 {
            assert_eq!(bob.event().await.conversation, world.direct);
        }
    }
    store.set_unreadable(None);
    assert_eq!(carol.seqs(2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn events_arrive_after_an_outage_of_the_store() {
    let world = world().await;
    let store = Arc::new(FaultyStore::new(Arc::clone(&world.store)));
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let here = node(&world, Some(Arc::clone(&bus))).await;
    let there = node_over(&world, store.clone(), Some(bus)).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    store.set_unavailable(true);
    for _ in 0..10 {
        send_message(&world, &here, "x").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    store.set_unavailable(false);
    assert_eq!(bob.seqs(10).await, (1..=10).collect::<Vec<_>>());
    bob.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn hanging_bus_neither_blocks_sessions_nor_loses_events() {
    let world = world().await;
    let here = node(&world, Some(Arc::new(HangingBus))).await;
    let started = tokio::time::Instant::now();
    let mut bob = Reader::attach(&here, world.bob, 1).await;
    assert!(started.elapsed() <= Duration::from_secs(3), "{:?}", started.elapsed());
    send_message(&world, &here, "here").await;
    assert_eq!(bob.event().await.seq, Seq(1));
    // Another node commits an event; this node finds it in the store.
    let elsewhere = append(&*world.store, world.group, world.alice, vec![NewEvent::message("x")]);
    elsewhere.await.unwrap();
    let sent = tokio::time::Instant::now();
    assert_eq!(bob.event().await.seq, Seq(2));
    assert!(sent.elapsed() <= Duration::from_secs(5), "{:?}", sent.elapsed());
    here.shutdown().await;
}

/// A bus whose publications and changes of subscriptions never return, and which delivers nothing.
#[derive(Clone, Debug)]
struct HangingBus;

#[async_trait::async_trait]
impl MessageBus for HangingBus {
    async fn publish(&self, _: Topic, _: bytes::Bytes) -> Result<(), BusError> {
        std::future::pending().await
    }

    async fn connect(&self) -> Result<Box<dyn Subscriber>, BusError> {
        Ok(Box::new(Self))
    }

    async fn close(&self) {}
}

#[async_trait::async_trait]
impl Subscriber for HangingBus {
    fn topics(&self) -> Box<dyn Topics> {
        Box::new(Self)
    }

    async fn next(&mut self) -> Option<crate::bus::BusMessage> {
        std::future::pending().await
    }
}

#[async_trait::async_trait]
impl Topics for HangingBus {
    async fn subscribe(&self, _: Topic) -> Result<(), BusError> {
        std::future::pending().await
    }

    async fn unsubscribe(&self, _: Topic) -> Result<(), BusError> {
        std::future::pending().await
    }
}
