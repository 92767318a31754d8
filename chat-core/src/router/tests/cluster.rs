//! Several nodes over one store, and a bus that may do anything.

use tokio::sync::watch;

use super::races::{join, leave, replace};
use super::*;
use crate::cluster::Presence;
use crate::cluster::{NodeInfo, Nodes};
use crate::model::PresenceState;
use crate::testkit::Faults;
use crate::testkit::store::act;

async fn pair(world: &World, bus: &LossyBus) -> (Router, Router) {
    let bus: Arc<dyn MessageBus> = Arc::new(bus.clone());
    (node(world, Some(Arc::clone(&bus))).await, node(world, Some(bus)).await)
}

fn lossy(seed: u64, faults: Faults) -> LossyBus {
    LossyBus::with(Arc::new(MemoryBus::new()), seed, faults)
}

fn sound() -> LossyBus {
    lossy(0, Faults::default())
}

/// As with [`Reader::seqs`], and nothing before, between or after.
async fn exactly(reader: &mut Reader, last: u64) {
    assert_eq!(
        reader.seqs(usize::try_from(last).unwrap()).await,
        (1..=last).collect::<Vec<_>>()
    );
    reader.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn any_loss_doubling_and_disorder_of_bells_disturbs_nothing() {
    for seed in 0..20 {
        let world = world().await;
        let faults = Faults {
            drop: 300,
            double: 300,
            delay: 500,
        };
        let bus = lossy(seed, faults);
        let (here, there) = pair(&world, &bus).await;
        let mut bob = Reader::attach(&there, world.bob, 1).await.patiently();
        let mut carol = Reader::attach(&here, world.carol, 1).await.patiently();
        for n in 0..100_u32 {
            say(&world, if n % 3 == 0 { &there } else { &here }, "x").await;
            if n % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        exactly(&mut bob, 100).await;
        exactly(&mut carol, 100).await;
        assert!(bus.dropped() > 0 && bus.delayed() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn members_who_come_and_go_get_what_is_theirs_whatever_the_bus_does() {
    for seed in 0..20 {
        let world = world().await;
        let faults = Faults {
            drop: 300,
            double: 200,
            delay: 500,
        };
        let bus = lossy(seed, faults);
        let (here, there) = pair(&world, &bus).await;
        let user = world.bob;
        let mut bob = Reader::attach(&there, user, 1).await.patiently();
        let mut bob_here = Reader::attach(&here, user, 2).await.patiently();
        let mut theirs = Vec::new();
        let mut member = true;
        for round in 0..30_u32 {
            let node = if round % 2 == 0 { &here } else { &there };
            let happened = match (round % 5, member) {
                (3, true) => EventBody::MemberKicked { user, banned: false },
                (3, false) => EventBody::MemberJoined { user, by: None },
                _ => {
                    let seq = say(&world, node, "x").await[0].seq;
                    theirs.extend(member.then_some(seq.0));
                    continue;
                }
            };
            let event = replace(&world, user, happened).await;
            theirs.push(event.seq.0);
            member = !member;
            node.committed(&[event]);
        }
        for reader in [&mut bob, &mut bob_here] {
            assert_eq!(reader.seqs(theirs.len()).await, theirs, "seed {seed}");
            reader.nothing().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_creators_other_device_follows_the_new_group_on_another_node() {
    let world = world().await;
    let (here, there) = pair(&world, &sound()).await;
    let mut laptop = Reader::attach(&there, world.alice, 2).await;
    let mut draft = Draft::of(EventKind::GroupCreated, None);
    draft.body = body::encode(&EventBody::GroupCreated { name: "new".to_owned() });
    let alice = world.alice;
    let created = act(&*world.store, move |tx| {
        let draft = draft.clone();
        Box::pin(async move {
            let new = crate::store::NewConversation {
                kind: crate::model::ConversationKind::Group,
                group: None,
                created: crate::model::Timestamp(1),
            };
            let id = tx.create_conversation(new).await?.expect("a new name");
            let owner = crate::model::Member::active(id, alice, crate::model::Role::Owner, Seq(1));
            tx.put_member(&owner).await?;
            crate::testkit::store::append_to(tx, id, alice, &[draft]).await
        })
    });
    let created = created.await.unwrap();
    here.committed(&created);
    let event = laptop.event().await;
    assert_eq!(
        (event.kind, event.conversation),
        (EventKind::GroupCreated, created[0].conversation)
    );
}

#[tokio::test(start_paused = true)]
async fn a_join_whose_bells_are_all_lost_is_found_once_the_bus_says_so() {
    let world = world().await;
    let user = world.bob;
    let bus = sound();
    let (here, there) = pair(&world, &bus).await;
    leave(&world, &here, user, EventBody::MemberLeft { user }).await;
    let mut bob = Reader::attach(&there, user, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bus.set_silent(true);
    join(&world, &here, user).await;
    say(&world, &here, "welcome").await;
    // Longer than anything is repeated.
    tokio::time::sleep(Duration::from_secs(60)).await;
    bus.set_silent(false);
    bus.say_gap();
    assert_eq!(bob.seqs(2).await, [2, 3]);
    bob.nothing().await;
}

/// A newer login of a user's device.
pub(super) async fn fence(world: &World, user: UserId, device: u8) {
    let fence = act(&*world.store, move |tx| {
        Box::pin(async move {
            let device = tx
                .lock_device(user, DeviceId([device; 16]))
                .await?
                .expect("it is there");
            let session_epoch = SessionEpoch(device.session_epoch.0 + 1);
            Ok(tx
                .put_device(&crate::model::Device {
                    session_epoch,
                    ..device
                })
                .await?)
        })
    });
    fence.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_is_closed_elsewhere_though_the_bell_was_lost() {
    let world = world().await;
    let bus = sound();
    let (here, there) = pair(&world, &bus).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let user = world.bob;
    fence(&world, user, 1).await;
    bus.set_silent(true);
    here.close_sessions(
        user,
        SessionSelector::OlderThan(DeviceId([1; 16]), SessionEpoch(1)),
        CloseCode::Replaced,
    );
    tokio::task::yield_now().await;
    bus.set_silent(false);
    let lost = tokio::time::Instant::now();
    assert_eq!(bob.next().await, Push::Closed(CloseCode::Replaced));
    assert!(lost.elapsed() <= Duration::from_secs(3), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_there_but_was_never_heard_makes_the_others_look() {
    let world = world().await;
    let (mute, bus) = (sound(), sound());
    // Two buses: neither hears the other.
    let ids = [NodeId([1; 16]), NodeId([2; 16])];
    let here = node_named(&world, ids[0], Arc::new(mute)).await;
    let there = node_named(&world, ids[1], Arc::new(bus)).await;
    let known = |id: NodeId| NodeInfo {
        id,
        incarnation: 1,
        addresses: Vec::new(),
        sessions: 0,
        draining: false,
    };
    let nodes: Nodes = Arc::from(ids.map(known));
    let nodes = watch::Sender::new(nodes);
    there.watch_nodes(nodes.subscribe());
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for n in 1..=5 {
        let said = tokio::time::Instant::now();
        say(&world, &here, "unheard").await;
        assert_eq!(bob.event().await.seq, Seq(n));
        assert!(said.elapsed() <= Duration::from_secs(3), "{:?}", said.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn beacons_repeat_whatever_was_rung_in_as_many_envelopes_as_it_takes() {
    let world = world().await;
    let bus = sound();
    let (here, there) = pair(&world, &bus).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bus.set_silent(true);
    let said = append(&*world.store, world.group, world.alice, vec![Draft::message("x")]);
    for other in 0..5_000_u64 {
        here.link.ring(Doorbell {
            conversation: ConversationId(1_000_000 + other),
            last_seq: Seq(1),
        });
    }
    here.committed(&said.await.unwrap());
    tokio::task::yield_now().await;
    bus.set_silent(false);
    let (lost, sweeps) = (tokio::time::Instant::now(), there.stats().sweeps);
    assert_eq!(bob.event().await.seq, Seq(1));
    assert!(lost.elapsed() <= Duration::from_secs(2), "{:?}", lost.elapsed());
    assert_eq!(
        there.stats().sweeps,
        sweeps,
        "the beacon told, nobody had to look at everything"
    );
}

#[tokio::test(start_paused = true)]
async fn quiet_nodes_ask_the_store_once_in_thirty_seconds() {
    let world = world().await;
    let bus = sound();
    let here = node(&world, Some(Arc::new(bus.clone()))).await;
    let (store, config) = (Arc::clone(&world.store), RouterConfig::default());
    let there = node_with(&world, store, Some(Arc::new(bus)), config).await;
    let _bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = there.stats().sweeps;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let sweeps = there.stats().sweeps - before;
    assert!((15..=30).contains(&sweeps), "{sweeps} in ten minutes");
    assert_eq!(there.stats().repairs, 0);
    here.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_noticed_and_what_it_did_not_ring_is_found() {
    let world = world().await;
    let (here, there) = pair(&world, &sound()).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // Committed, and killed before it could ring.
    append(
        &*world.store,
        world.group,
        world.alice,
        vec![Draft::message("last words")],
    )
    .await
    .unwrap();
    let died = tokio::time::Instant::now();
    drop(here);
    assert_eq!(bob.event().await.seq, Seq(1));
    assert!(died.elapsed() <= PATIENCE, "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_loses_the_claims_gets_them_again() {
    let world = world().await;
    let presence = Arc::new(MemoryPresence::new());
    let parts = RouterParts {
        clock: Arc::new(crate::clock::SystemClock),
        log: log(&world.store),
        bus: Some(Arc::new(sound())),
        presence: presence.clone(),
        node: NodeId::random(),
        incarnation: 1,
        epoch: world.store.epoch().await.unwrap(),
        config: RouterConfig::default(),
    };
    let node = parts.node;
    let router = Router::start(parts).await.unwrap();
    let bob = Reader::attach(&router, world.bob, 1).await;
    let claimed = async || {
        let claims = presence.devices(&[world.bob]).await.unwrap();
        claims.iter().map(|claim| claim.3).collect::<Vec<_>>()
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(claimed().await, [PresenceState::Online]);
    bob.attachment.set_presence(PresenceState::Idle);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(claimed().await, [PresenceState::Idle]);
    presence.expire(node);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(claimed().await, [PresenceState::Idle]);
    drop(bob);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(claimed().await, []);
}

#[tokio::test(start_paused = true)]
async fn routers_that_are_dropped_leave_no_task() {
    let world = world().await;
    let bus = MemoryBus::new();
    let router = node(&world, Some(Arc::new(bus.clone()))).await;
    let weak = Arc::downgrade(&router.registry);
    let reader = Reader::attach(&router, world.bob, 1).await;
    drop((router, reader));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(weak.upgrade().is_none(), "the tasks let go of what they shared");
}
