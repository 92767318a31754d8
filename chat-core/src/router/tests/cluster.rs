//! Tests of nodes on one store, most of them connected by a bus that can inject faults.

use tokio::sync::watch;

use super::races::{commit_change, join, leave};
use super::*;
use crate::cluster::Presence;
use crate::cluster::{NodeInfo, Nodes};
use crate::model::PresenceState;
use crate::testkit::Faults;
use crate::testkit::store::transact;

async fn pair(world: &World, bus: &LossyBus) -> (Router, Router) {
    let bus: Arc<dyn MessageBus> = Arc::new(bus.clone());
    (node(world, Some(Arc::clone(&bus))).await, node(world, Some(bus)).await)
}

fn lossy(seed: u64, faults: Faults) -> LossyBus {
    LossyBus::with_faults(Arc::new(MemoryBus::new()), seed, faults)
}

fn faultless() -> LossyBus {
    lossy(0, Faults::default())
}

/// Checks that the events `1..=last` arrive once and in order, and no push after them. Other pushes
/// may arrive between them.
async fn expect_exactly(reader: &mut Reader, last: u64) {
    assert_eq!(
        reader.seqs(usize::try_from(last).unwrap()).await,
        (1..=last).collect::<Vec<_>>()
    );
    reader.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn events_arrive_once_and_in_order_despite_bus_faults() {
    for seed in 0..20 {
        let world = world().await;
        let faults = Faults {
            drop_per_mille: 300,
            duplicate_per_mille: 300,
            delay_per_mille: 500,
        };
        let bus = lossy(seed, faults);
        let (here, there) = pair(&world, &bus).await;
        let mut bob = Reader::attach(&there, world.bob, 1).await.with_settle_timeout();
        let mut carol = Reader::attach(&here, world.carol, 1).await.with_settle_timeout();
        for n in 0..100_u32 {
            send_message(&world, if n % 3 == 0 { &there } else { &here }, "x").await;
            if n % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        expect_exactly(&mut bob, 100).await;
        expect_exactly(&mut carol, 100).await;
        assert!(bus.dropped() > 0 && bus.delayed() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn members_who_join_and_leave_get_exactly_their_events_despite_bus_faults() {
    for seed in 0..20 {
        let world = world().await;
        let faults = Faults {
            drop_per_mille: 300,
            duplicate_per_mille: 200,
            delay_per_mille: 500,
        };
        let bus = lossy(seed, faults);
        let (here, there) = pair(&world, &bus).await;
        let user = world.bob;
        let mut bob = Reader::attach(&there, user, 1).await.with_settle_timeout();
        let mut bob_here = Reader::attach(&here, user, 2).await.with_settle_timeout();
        let mut expected = Vec::new();
        let mut is_member = true;
        for round in 0..30_u32 {
            let node = if round % 2 == 0 { &here } else { &there };
            let change = match (round % 5, is_member) {
                (3, true) => EventBody::MemberKicked { user, banned: false },
                (3, false) => EventBody::MemberJoined { user, by: None },
                _ => {
                    let seq = send_message(&world, node, "x").await[0].seq;
                    expected.extend(is_member.then_some(seq.0));
                    continue;
                }
            };
            let event = commit_change(&world, user, change).await;
            expected.push(event.seq.0);
            is_member = !is_member;
            node.committed(&[event]);
        }
        for reader in [&mut bob, &mut bob_here] {
            assert_eq!(reader.seqs(expected.len()).await, expected, "seed {seed}");
            reader.expect_nothing().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn new_group_reaches_its_creators_other_device_on_another_node() {
    let world = world().await;
    let (here, there) = pair(&world, &faultless()).await;
    let mut laptop = Reader::attach(&there, world.alice, 2).await;
    let mut new_event = NewEvent::of(EventKind::GroupCreated, None);
    new_event.body = body::encode(&EventBody::GroupCreated { name: "new".to_owned() });
    let alice = world.alice;
    let created = transact(&*world.store, move |tx| {
        let new_event = new_event.clone();
        Box::pin(async move {
            let new = crate::store::NewConversation {
                kind: crate::model::ConversationKind::Group,
                group: None,
                created: crate::model::Timestamp(1),
            };
            let id = tx.create_conversation(new).await?.expect("a new name");
            let owner = crate::model::Member::active(id, alice, crate::model::Role::Owner, Seq(1));
            tx.put_member(&owner).await?;
            crate::testkit::store::append_to(tx, id, alice, &[new_event]).await
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
async fn join_is_found_although_the_bus_loses_its_announcement() {
    let world = world().await;
    let user = world.bob;
    let bus = faultless();
    let (here, there) = pair(&world, &bus).await;
    leave(&world, &here, user, EventBody::MemberLeft { user }).await;
    let mut bob = Reader::attach(&there, user, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bus.set_silent(true);
    join(&world, &here, user).await;
    send_message(&world, &here, "welcome").await;
    // Longer than the time for which nodes repeat their announcements, so that no announcement of
    // the join arrives.
    tokio::time::sleep(Duration::from_secs(60)).await;
    bus.set_silent(false);
    bus.send_gap();
    assert_eq!(bob.seqs(2).await, [2, 3]);
    bob.expect_nothing().await;
}

/// Records a newer login of a user's device in the store.
pub(super) async fn replace_login(world: &World, user: UserId, device: u8) {
    let replaced = transact(&*world.store, move |tx| {
        Box::pin(async move {
            let device = tx
                .lock_device(user, DeviceId([device; 16]))
                .await?
                .expect("the row exists");
            let session_epoch = SessionEpoch(device.session_epoch.0 + 1);
            Ok(tx
                .put_device(&crate::model::Device {
                    session_epoch,
                    ..device
                })
                .await?)
        })
    });
    replaced.await.unwrap();
}

/// Ends the logins of a user in the store, and disables the account if `disable` is true. Announces
/// nothing, like an operator's command while the bus is down.
async fn end_logins(world: &World, user: UserId, disable: bool) {
    let ended = transact(&*world.store, move |tx| {
        Box::pin(async move {
            for mut device in tx.lock_devices_of(user).await? {
                device.end_login(crate::model::Timestamp(1));
                tx.put_device(&device).await?;
            }
            let mut account = tx.account(user).await?.expect("the account exists");
            account.disabled = disable;
            Ok(tx.update_account(&account).await?)
        })
    });
    ended.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn recheck_closes_sessions_with_the_reason_of_their_end() {
    for (disable, code, expected) in [
        (false, CloseCode::Replaced, CloseCode::Revoked),
        (true, CloseCode::Replaced, CloseCode::AccountDisabled),
        (true, CloseCode::Revoked, CloseCode::AccountDisabled),
        (false, CloseCode::AccountDisabled, CloseCode::Revoked),
    ] {
        let world = world().await;
        let (here, _there) = pair(&world, &faultless()).await;
        let mut bob = Reader::attach(&here, world.bob, 1).await;
        end_logins(&world, world.bob, disable).await;
        here.recheck_sessions(world.bob, code);
        assert_eq!(bob.next().await, Push::Closed(expected), "{disable} {code:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn replaced_session_is_closed_on_another_node_after_a_lost_announcement() {
    let world = world().await;
    let bus = faultless();
    let (here, there) = pair(&world, &bus).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let user = world.bob;
    replace_login(&world, user, 1).await;
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
async fn listed_node_without_heartbeats_makes_peers_poll() {
    let world = world().await;
    let (other_bus, bus) = (faultless(), faultless());
    // The nodes use separate buses, so neither receives the other's heartbeats.
    let ids = [NodeId([1; 16]), NodeId([2; 16])];
    let here = node_with_id(&world, ids[0], Arc::new(other_bus)).await;
    let there = node_with_id(&world, ids[1], Arc::new(bus)).await;
    let info = |id: NodeId| NodeInfo {
        id,
        incarnation: 1,
        addresses: Vec::new(),
        sessions: 0,
        accepts_no_sessions: false,
    };
    let nodes: Nodes = Arc::from(ids.map(info));
    let nodes = watch::Sender::new(nodes);
    there.watch_nodes(nodes.subscribe());
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for n in 1..=5 {
        let sent = tokio::time::Instant::now();
        send_message(&world, &here, "not announced").await;
        assert_eq!(bob.event().await.seq, Seq(n));
        assert!(sent.elapsed() <= Duration::from_secs(3), "{:?}", sent.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeat_of_several_envelopes_repeats_a_lost_announcement() {
    let world = world().await;
    let bus = faultless();
    let (here, there) = pair(&world, &bus).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    bus.set_silent(true);
    let appended = append(&*world.store, world.group, world.alice, vec![NewEvent::message("x")]);
    for other in 0..5_000_u64 {
        here.link.ring(Doorbell {
            conversation: ConversationId(1_000_000 + other),
            last_seq: Seq(1),
        });
    }
    here.committed(&appended.await.unwrap());
    tokio::task::yield_now().await;
    bus.set_silent(false);
    let (lost, sweeps) = (tokio::time::Instant::now(), there.stats().sweeps);
    assert_eq!(bob.event().await.seq, Seq(1));
    assert!(lost.elapsed() <= Duration::from_secs(2), "{:?}", lost.elapsed());
    assert_eq!(
        there.stats().sweeps,
        sweeps,
        "the heartbeat alone repairs the loss, without a sweep"
    );
}

#[tokio::test(start_paused = true)]
async fn node_sweeps_about_every_thirty_seconds_without_requests() {
    let world = world().await;
    let bus = faultless();
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
async fn killed_node_is_detected_and_its_last_commit_is_delivered() {
    let world = world().await;
    let (here, there) = pair(&world, &faultless()).await;
    let mut bob = Reader::attach(&there, world.bob, 1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // The node commits, and is killed before it announces the commit.
    append(
        &*world.store,
        world.group,
        world.alice,
        vec![NewEvent::message("last message")],
    )
    .await
    .unwrap();
    let killed = tokio::time::Instant::now();
    drop(here);
    assert_eq!(bob.event().await.seq, Seq(1));
    assert!(killed.elapsed() <= REPAIR_TIMEOUT, "{:?}", killed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn lost_presence_of_devices_is_published_again() {
    let world = world().await;
    let presence = Arc::new(MemoryPresence::new());
    let parts = RouterParts {
        clock: Arc::new(crate::clock::SystemClock),
        log: log(&world.store),
        bus: Some(Arc::new(faultless())),
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
    bob.guard.set_presence(PresenceState::Idle);
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
async fn dropped_router_leaves_no_task() {
    let world = world().await;
    let bus = MemoryBus::new();
    let router = node(&world, Some(Arc::new(bus.clone()))).await;
    let weak = Arc::downgrade(&router.registry);
    let reader = Reader::attach(&router, world.bob, 1).await;
    drop((router, reader));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(weak.upgrade().is_none(), "the tasks have ended");
}
