//! Tests of routers over a memory store, which the routers of one test share. Most tests pause
//! tokio's time.

mod announcer;
mod changed_users;
mod cluster;
mod event_log;
mod isolation;
mod losses;
mod outgoing;
mod panics;
mod races;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::envelope::{Audience, Content, Doorbell, EnvelopeCodec};
use super::*;
use crate::bus::{MemoryBus, MessageBus, Topic};
use crate::cluster::MemoryPresence;
use crate::codec::body;
use crate::model::{
    Caller, CloseCode, ConversationId, DeviceId, Event, EventBody, EventKind, NodeId, Push, Seq, SessionEpoch, UserId,
};
use crate::store::{MemoryStore, Store};
use crate::testkit::LossyBus;
use crate::testkit::forwarding::ForwardingEventLog;
use crate::testkit::store::{NewEvent, World, append};

/// Time within which the router has to deliver events whose announcements were lost, without
/// periodic sweeps (see [`without_sweeps`]).
const REPAIR_TIMEOUT: Duration = Duration::from_secs(3);
/// Time after which every message in flight has arrived.
const SETTLE_TIME: Duration = Duration::from_secs(60);

/// Returns the default configuration without periodic sweeps, so that they cannot repair a loss
/// that another mechanism has to detect.
fn without_sweeps() -> RouterConfig {
    RouterConfig {
        sweep_interval: Duration::from_secs(1_000_000),
        ..RouterConfig::default()
    }
}

/// Starts a node that reads the world's store.
async fn node(world: &World, bus: Option<Arc<dyn MessageBus>>) -> Router {
    node_over(world, Arc::clone(&world.store), bus).await
}

/// Starts a node with this id.
async fn node_with_id(world: &World, node: NodeId, bus: Arc<dyn MessageBus>) -> Router {
    let parts = RouterParts {
        node,
        ..parts(world, Arc::clone(&world.store), Some(bus), without_sweeps()).await
    };
    Router::start(parts).await.unwrap()
}

/// Returns the event log of a store. Its calls go through a channel, as those of a store behind a
/// network go through a connection. Most routers of these tests get such a log, so that they share
/// no state with their store.
fn log(store: &Arc<dyn Store>) -> Arc<dyn EventLog> {
    let log = StoreEventLog::new(Arc::clone(store));
    Arc::new(ForwardingEventLog::new(Arc::new(log)))
}

/// Starts a node that reads `store` instead of the world's.
async fn node_over(world: &World, store: Arc<dyn Store>, bus: Option<Arc<dyn MessageBus>>) -> Router {
    node_with(world, store, bus, without_sweeps()).await
}

/// Starts a node that reads `store` instead of the world's, with this configuration.
async fn node_with(
    world: &World,
    store: Arc<dyn Store>,
    bus: Option<Arc<dyn MessageBus>>,
    config: RouterConfig,
) -> Router {
    Router::start(parts(world, store, bus, config).await).await.unwrap()
}

async fn parts(
    world: &World,
    store: Arc<dyn Store>,
    bus: Option<Arc<dyn MessageBus>>,
    config: RouterConfig,
) -> RouterParts {
    RouterParts {
        clock: Arc::new(crate::clock::SystemClock),
        log: log(&store),
        bus,
        presence: Arc::new(MemoryPresence::new()),
        node: NodeId::random(),
        incarnation: 1,
        epoch: world.store.epoch().await.unwrap(),
        config,
    }
}

async fn world() -> World {
    World::new(Arc::new(MemoryStore::new())).await
}

fn caller(user: UserId, device: u8) -> Caller {
    Caller::login(user, DeviceId([device; 16]), SessionEpoch(0))
}

/// A session that reads its outbox. The methods that wait for a push fail the test if it takes
/// longer than `timeout`.
struct Reader {
    guard: SubscriptionGuard,
    taken: std::collections::VecDeque<SharedPush>,
    timeout: Duration,
}

impl Reader {
    async fn attach(router: &Router, user: UserId, device: u8) -> Self {
        let outbox = Outbox::new(OutboxLimits::default());
        let (guard, _) = router.subscribe(caller(user, device), outbox).await.unwrap();
        Self::of(guard)
    }

    fn of(guard: SubscriptionGuard) -> Self {
        Self {
            guard,
            taken: std::collections::VecDeque::new(),
            timeout: REPAIR_TIMEOUT,
        }
    }

    /// Makes the methods wait for a push until every message in flight has arrived, not only until
    /// losses are repaired.
    fn with_settle_timeout(mut self) -> Self {
        self.timeout = SETTLE_TIME;
        self
    }

    async fn next(&mut self) -> Push {
        loop {
            if let Some(push) = self.taken.pop_front() {
                return push.push().clone();
            }
            let outbox = Arc::clone(self.guard.outbox());
            timeout(self.timeout, outbox.ready()).await.expect("no push arrived");
            let mut taken = Vec::new();
            outbox.drain(usize::MAX, &mut taken);
            self.taken.extend(taken);
        }
    }

    /// Returns the next event. Skips other pushes.
    async fn event(&mut self) -> Event {
        loop {
            if let Push::Event(event) = self.next().await {
                return event;
            }
        }
    }

    /// Returns the `Seq`s of the next `count` events. Skips other pushes.
    async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        for _ in 0..count {
            seqs.push(self.event().await.seq.0);
        }
        seqs
    }

    /// Checks that no push is queued, and that none arrives while messages in flight are delivered.
    async fn expect_nothing(&mut self) {
        let outbox = Arc::clone(self.guard.outbox());
        assert!(self.taken.is_empty());
        assert!(
            timeout(SETTLE_TIME, outbox.ready()).await.is_err(),
            "an unexpected push"
        );
    }
}

/// Commits a message of Alice to the group, and passes it to `router` for delivery and
/// announcement.
async fn send_message(world: &World, router: &Router, text: &str) -> Vec<Event> {
    let events = append(
        &*world.store,
        world.group,
        world.alice,
        vec![NewEvent::message(text.to_owned())],
    )
    .await
    .unwrap();
    router.committed(&events);
    events
}

/// Commits an event of Alice to the group, and passes it to `router` for delivery and announcement.
/// An event that changes members does not change the memberships in the store.
async fn append_event(world: &World, router: &Router, event: EventBody) {
    let mut new_event = NewEvent::of(event.kind(), None);
    new_event.body = body::encode(&event);
    let events = append(&*world.store, world.group, world.alice, vec![new_event])
        .await
        .unwrap();
    router.committed(&events);
}

#[tokio::test(start_paused = true)]
async fn events_reach_members_in_order_and_no_other_user() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    let mut bob_too = Reader::attach(&router, world.bob, 2).await;
    let stranger = UserId(999);
    let mut stranger = Reader::attach(&router, stranger, 1).await;
    for n in 0..100 {
        send_message(&world, &router, &n.to_string()).await;
    }
    assert_eq!(bob.seqs(100).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(bob_too.seqs(100).await, (1..=100).collect::<Vec<_>>());
    stranger.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn commits_out_of_order_are_delivered_in_order() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    let new_events = || vec![NewEvent::message("a"), NewEvent::message("b")];
    let first = append(&*world.store, world.group, world.alice, new_events())
        .await
        .unwrap();
    let second = append(&*world.store, world.group, world.alice, new_events())
        .await
        .unwrap();
    router.committed(&second);
    router.committed(&first);
    router.committed(&first);
    assert_eq!(bob.seqs(4).await, [1, 2, 3, 4]);
    bob.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn full_outbox_is_dropped_and_reported_as_behind() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut slow = Reader::attach(&router, world.bob, 1).await;
    let mut quick = Reader::attach(&router, world.carol, 1).await;
    for n in 1..=1000 {
        send_message(&world, &router, "x").await;
        assert_eq!(quick.event().await.seq, Seq(n), "the slow session delays no other");
    }
    let behind = Push::Behind {
        conversation: world.group,
        last_seq: Seq(1000),
    };
    assert_eq!(slow.next().await, behind);
    send_message(&world, &router, "again").await;
    assert_eq!(slow.event().await.seq, Seq(1001));
    assert_eq!(slow.guard.outbox().close_code(), None);
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_push_share_one_encoding() {
    let push = SharedPush::new(Push::Behind {
        conversation: ConversationId(1),
        last_seq: Seq(2),
    });
    let (first, second) = (push.frame(), push.clone().frame());
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn kicked_member_gets_the_kick_and_nothing_after_until_rejoining() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    append_event(
        &world,
        &router,
        EventBody::MemberKicked {
            user: world.bob,
            banned: false,
        },
    )
    .await;
    send_message(&world, &router, "he is gone").await;
    assert_eq!(bob.event().await.kind, EventKind::MemberKicked);
    bob.expect_nothing().await;
    append_event(
        &world,
        &router,
        EventBody::MemberJoined {
            user: world.bob,
            by: None,
        },
    )
    .await;
    send_message(&world, &router, "he is back").await;
    assert_eq!(bob.seqs(2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn deleted_group_loses_its_feed() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    append_event(&world, &router, EventBody::GroupDeleted).await;
    assert_eq!(bob.event().await.kind, EventKind::GroupDeleted);
    assert_eq!(router.stats().conversations, 1, "the direct conversation remains");
}

#[tokio::test(start_paused = true)]
async fn ended_sessions_and_their_feeds_are_not_counted() {
    let world = world().await;
    let router = node(&world, Some(Arc::new(MemoryBus::new()))).await;
    for device in 0..50 {
        drop(Reader::attach(&router, world.bob, device).await);
    }
    let stats = router.stats();
    assert_eq!((stats.sessions, stats.conversations), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn close_sessions_ends_only_selected_sessions() {
    let world = world().await;
    let router = node(&world, None).await;
    let one = Reader::attach(&router, world.bob, 1).await;
    let mut other = Reader::attach(&router, world.bob, 2).await;
    router.close_sessions(
        world.bob,
        SessionSelector::AllExcept(DeviceId([1; 16])),
        CloseCode::Revoked,
    );
    assert_eq!(one.guard.outbox().close_code(), None);
    assert_eq!(other.next().await, Push::Closed(CloseCode::Revoked));
    send_message(&world, &router, "not for him").await;
    other.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn node_delivers_events_and_notices_of_another_node() {
    let world = world().await;
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let (here, there) = (
        node(&world, Some(Arc::clone(&bus))).await,
        node(&world, Some(bus)).await,
    );
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    for n in 1..=50 {
        send_message(&world, if n % 2 == 0 { &here } else { &there }, "x").await;
    }
    assert_eq!(bob.seqs(50).await, (1..=50).collect::<Vec<_>>());
    let typing = Push::Typing {
        conversation: world.group,
        user: world.alice,
        stopped: false,
    };
    here.notify_conversation(world.group, &typing, None);
    assert_eq!(bob.next().await, typing);
}

#[tokio::test(start_paused = true)]
async fn events_arrive_once_over_a_lossy_bus() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 7, 300, 300);
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await.with_settle_timeout();
    for _ in 0..200 {
        send_message(&world, &here, "x").await;
        // Doorbells that are queued together merge, so each one gets the time to be published.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut seqs = Vec::new();
    while seqs.last() != Some(&200) {
        match bob.next().await {
            Push::Event(event) => seqs.push(event.seq.0),
            Push::Behind { .. } => panic!("the reader keeps up"),
            _ => {}
        }
    }
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    assert!(bus.dropped() > 0, "the bus lost envelopes");
}

#[tokio::test(start_paused = true)]
async fn event_arrives_within_three_seconds_after_its_doorbell_was_lost() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 1, 0, 0);
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bus.set_silent(true);
    send_message(&world, &here, "not announced").await;
    tokio::task::yield_now().await;
    bus.set_silent(false);
    let lost = tokio::time::Instant::now();
    assert_eq!(bob.event().await.seq, Seq(1));
    assert!(lost.elapsed() <= Duration::from_secs(3), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn node_polls_the_store_when_the_bus_is_silent() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 1, 0, 0);
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    bus.set_silent(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for n in 1..=5 {
        let sent = tokio::time::Instant::now();
        send_message(&world, &here, "not announced").await;
        assert_eq!(bob.event().await.seq, Seq(n));
        assert!(sent.elapsed() <= Duration::from_secs(3), "{:?}", sent.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn forged_envelopes_deliver_nothing() {
    let world = world().await;
    let bus = Arc::new(MemoryBus::new());
    let router = node(&world, Some(Arc::clone(&bus) as Arc<dyn MessageBus>)).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    let forger = EnvelopeCodec {
        epoch: world.store.epoch().await.unwrap(),
        node: NodeId::random(),
        incarnation: 1,
    };
    let event = send_message(&world, &router, "real").await.remove(0);
    assert_eq!(bob.event().await.seq, Seq(1));
    let forged = Event { seq: Seq(2), ..event };
    for content in [
        Content::Doorbell(Doorbell {
            conversation: world.group,
            last_seq: Seq(u64::MAX),
        }),
        Content::Notice {
            audience: Audience::Conversation(world.group),
            push: Push::Event(forged),
            except: None,
        },
        Content::SessionsChanged {
            user: world.bob,
            code: CloseCode::Revoked,
        },
        Content::UserJoined {
            user: world.bob,
            conversation: ConversationId(999),
        },
    ] {
        bus.publish(Topic::Conversation(world.group), forger.encode(content))
            .await
            .unwrap();
    }
    bus.publish(Topic::Control, bytes::Bytes::from_static(b"\xff\xff\xff"))
        .await
        .unwrap();
    bob.expect_nothing().await;
    assert_eq!(bob.guard.outbox().close_code(), None);
    send_message(&world, &router, "real too").await;
    assert_eq!(bob.event().await.seq, Seq(2));
}

#[tokio::test(start_paused = true)]
async fn stopped_router_does_not_block_subscribe() {
    let world = world().await;
    let router = node(&world, Some(Arc::new(MemoryBus::new()))).await;
    router.shutdown().await;
    let outbox = Outbox::new(OutboxLimits::default());
    let attached = timeout(REPAIR_TIMEOUT, router.subscribe(caller(world.bob, 1), outbox)).await;
    assert!(attached.is_ok(), "subscribe returns on a stopped router");
}
