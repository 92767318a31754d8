mod cluster;
mod isolation;
mod losses;
mod outgoing;
mod races;

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
use crate::testkit::store::{Draft, World, append};

/// What is lost is found within this; time is paused, and nothing waits for a sweep: see [`without_sweeps`].
const PATIENCE: Duration = Duration::from_secs(3);
/// More than anything that is under way takes.
const QUIET: Duration = Duration::from_secs(60);

/// The default, but nothing is looked for that nothing asked for: whatever is found was noticed to be lost.
fn without_sweeps() -> RouterConfig {
    RouterConfig {
        sweep_interval: Duration::from_secs(1_000_000),
        ..RouterConfig::default()
    }
}

async fn node(world: &World, bus: Option<Arc<dyn MessageBus>>) -> Router {
    node_over(world, Arc::clone(&world.store), bus).await
}

/// A node with this id.
async fn node_named(world: &World, node: NodeId, bus: Arc<dyn MessageBus>) -> Router {
    let parts = RouterParts {
        node,
        ..parts(world, Arc::clone(&world.store), Some(bus), without_sweeps()).await
    };
    Router::start(parts).await.unwrap()
}

fn log(store: &Arc<dyn Store>) -> Arc<dyn EventLog> {
    Arc::new(StoreEventLog::new(Arc::clone(store)))
}

/// A node that sees the world through another store.
async fn node_over(world: &World, store: Arc<dyn Store>, bus: Option<Arc<dyn MessageBus>>) -> Router {
    node_with(world, store, bus, without_sweeps()).await
}

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
    Caller {
        user,
        device: DeviceId([device; 16]),
        epoch: SessionEpoch(0),
    }
}

struct Reader {
    attachment: SubscriptionGuard,
    taken: std::collections::VecDeque<SharedPush>,
    patience: Duration,
}

impl Reader {
    async fn attach(router: &Router, user: UserId, device: u8) -> Self {
        let outbox = Outbox::new(OutboxLimits::default());
        let (attachment, _) = router.subscribe(caller(user, device), outbox).await.unwrap();
        Self::of(attachment)
    }

    fn of(attachment: SubscriptionGuard) -> Self {
        Self {
            attachment,
            taken: std::collections::VecDeque::new(),
            patience: PATIENCE,
        }
    }

    /// One who waits as long as it takes.
    fn patiently(mut self) -> Self {
        self.patience = QUIET;
        self
    }

    async fn next(&mut self) -> Push {
        loop {
            if let Some(delivery) = self.taken.pop_front() {
                return delivery.push().clone();
            }
            let outbox = Arc::clone(self.attachment.outbox());
            timeout(self.patience, outbox.ready())
                .await
                .expect("something is pushed");
            let mut taken = Vec::new();
            outbox.drain(usize::MAX, &mut taken);
            self.taken.extend(taken);
        }
    }

    async fn event(&mut self) -> Event {
        loop {
            if let Push::Event(event) = self.next().await {
                return event;
            }
        }
    }

    async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        for _ in 0..count {
            seqs.push(self.event().await.seq.0);
        }
        seqs
    }

    /// Nothing waits, and nothing comes while everything that is under way arrives.
    async fn nothing(&mut self) {
        let outbox = Arc::clone(self.attachment.outbox());
        assert!(self.taken.is_empty());
        assert!(
            timeout(QUIET, outbox.ready()).await.is_err(),
            "nothing was to be pushed"
        );
    }
}

async fn say(world: &World, router: &Router, text: &str) -> Vec<Event> {
    let events = append(
        &*world.store,
        world.group,
        world.alice,
        vec![Draft::message(text.to_owned())],
    )
    .await
    .unwrap();
    router.committed(&events);
    events
}

async fn happen(world: &World, router: &Router, happened: EventBody) {
    let mut draft = Draft::of(happened.kind(), None);
    draft.body = body::encode(&happened);
    let events = append(&*world.store, world.group, world.alice, vec![draft])
        .await
        .unwrap();
    router.committed(&events);
}

#[tokio::test(start_paused = true)]
async fn members_get_events_in_order_and_others_do_not() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    let mut bob_too = Reader::attach(&router, world.bob, 2).await;
    let stranger = UserId(999);
    let mut stranger = Reader::attach(&router, stranger, 1).await;
    for n in 0..100 {
        say(&world, &router, &n.to_string()).await;
    }
    assert_eq!(bob.seqs(100).await, (1..=100).collect::<Vec<_>>());
    assert_eq!(bob_too.seqs(100).await, (1..=100).collect::<Vec<_>>());
    stranger.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn commits_told_out_of_order_are_delivered_in_order() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    let drafts = || vec![Draft::message("a"), Draft::message("b")];
    let first = append(&*world.store, world.group, world.alice, drafts()).await.unwrap();
    let second = append(&*world.store, world.group, world.alice, drafts()).await.unwrap();
    router.committed(&second);
    router.committed(&first);
    router.committed(&first);
    assert_eq!(bob.seqs(4).await, [1, 2, 3, 4]);
    bob.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_is_dropped_and_said_so_once() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut slow = Reader::attach(&router, world.bob, 1).await;
    let mut quick = Reader::attach(&router, world.carol, 1).await;
    for n in 1..=1000 {
        say(&world, &router, "x").await;
        assert_eq!(quick.event().await.seq, Seq(n), "nobody waits for the slow one");
    }
    let behind = Push::Behind {
        conversation: world.group,
        last_seq: Seq(1000),
    };
    assert_eq!(slow.next().await, behind);
    say(&world, &router, "again").await;
    assert_eq!(slow.event().await.seq, Seq(1001));
    assert_eq!(slow.attachment.outbox().close_code(), None);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_encoded_once_for_all() {
    let delivery = SharedPush::new(Push::Behind {
        conversation: ConversationId(1),
        last_seq: Seq(2),
    });
    let (first, second) = (delivery.frame(), delivery.clone().frame());
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn a_leaver_gets_the_leaving_and_nothing_after() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    happen(
        &world,
        &router,
        EventBody::MemberKicked {
            user: world.bob,
            banned: false,
        },
    )
    .await;
    say(&world, &router, "he is gone").await;
    assert_eq!(bob.event().await.kind, EventKind::MemberKicked);
    bob.nothing().await;
    happen(
        &world,
        &router,
        EventBody::MemberJoined {
            user: world.bob,
            by: None,
        },
    )
    .await;
    say(&world, &router, "he is back").await;
    assert_eq!(bob.seqs(2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_is_followed_no_more() {
    let world = world().await;
    let router = node(&world, None).await;
    let mut bob = Reader::attach(&router, world.bob, 1).await;
    happen(&world, &router, EventBody::GroupDeleted).await;
    assert_eq!(bob.event().await.kind, EventKind::GroupDeleted);
    assert_eq!(router.stats().conversations, 1, "the direct conversation is left");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_sessions_that_ended() {
    let world = world().await;
    let router = node(&world, Some(Arc::new(MemoryBus::new()))).await;
    for device in 0..50 {
        drop(Reader::attach(&router, world.bob, device).await);
    }
    let stats = router.stats();
    assert_eq!((stats.sessions, stats.conversations), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_the_sessions_that_are_meant() {
    let world = world().await;
    let router = node(&world, None).await;
    let one = Reader::attach(&router, world.bob, 1).await;
    let mut other = Reader::attach(&router, world.bob, 2).await;
    router.close_sessions(
        world.bob,
        SessionSelector::AllExcept(DeviceId([1; 16])),
        CloseCode::Revoked,
    );
    assert_eq!(one.attachment.outbox().close_code(), None);
    assert_eq!(other.next().await, Push::Closed(CloseCode::Revoked));
    say(&world, &router, "not for him").await;
    other.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn two_nodes_are_one() {
    let world = world().await;
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let (here, there) = (
        node(&world, Some(Arc::clone(&bus))).await,
        node(&world, Some(bus)).await,
    );
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    for n in 1..=50 {
        say(&world, if n % 2 == 0 { &here } else { &there }, "x").await;
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
async fn a_bus_that_loses_and_doubles_loses_and_doubles_nothing() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 7, 300, 300);
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await.patiently();
    for _ in 0..200 {
        say(&world, &here, "x").await;
        // Bells that wait together would be one.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut seqs = Vec::new();
    while seqs.last() != Some(&200) {
        match bob.next().await {
            Push::Event(event) => seqs.push(event.seq.0),
            Push::Behind { .. } => panic!("the reader is quick enough"),
            _ => {}
        }
    }
    assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    assert!(bus.dropped() > 0, "the bus did lose something");
}

#[tokio::test(start_paused = true)]
async fn a_lost_last_doorbell_is_repaired_within_three_seconds() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 1, 0, 0);
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bus.set_silent(true);
    say(&world, &here, "unheard").await;
    tokio::task::yield_now().await;
    bus.set_silent(false);
    let lost = tokio::time::Instant::now();
    assert_eq!(bob.event().await.seq, Seq(1));
    assert!(lost.elapsed() <= Duration::from_secs(3), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_bus_is_noticed_and_the_store_is_polled() {
    let world = world().await;
    let bus = LossyBus::new(Arc::new(MemoryBus::new()), 1, 0, 0);
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let there = node(&world, Some(Arc::new(bus.clone()))).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    bus.set_silent(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    for n in 1..=5 {
        let said = tokio::time::Instant::now();
        say(&world, &here, "unheard").await;
        assert_eq!(bob.event().await.seq, Seq(n));
        assert!(said.elapsed() <= Duration::from_secs(3), "{:?}", said.elapsed());
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
    let event = say(&world, &router, "real").await.remove(0);
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
    bob.nothing().await;
    assert_eq!(bob.attachment.outbox().close_code(), None);
    say(&world, &router, "real too").await;
    assert_eq!(bob.event().await.seq, Seq(2));
}

#[tokio::test(start_paused = true)]
async fn a_router_stops_and_lets_nobody_wait() {
    let world = world().await;
    let router = node(&world, Some(Arc::new(MemoryBus::new()))).await;
    router.shutdown().await;
    let outbox = Outbox::new(OutboxLimits::default());
    let attached = timeout(PATIENCE, router.subscribe(caller(world.bob, 1), outbox)).await;
    assert!(attached.is_ok(), "attaching to a router that has stopped does not hang");
}
