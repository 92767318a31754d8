//! Tests of changes that happen between two steps of a starting session or of a join.

use super::*;
use crate::model::{Member, MemberState, Role};
use crate::store::MembershipView;
use crate::testkit::store::{FaultyStore, append_to, transact};

fn faulty_store(world: &World) -> Arc<FaultyStore> {
    Arc::new(FaultyStore::new(Arc::clone(&world.store)))
}

/// Yields often enough that every ready task runs.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Changes a membership as the engine does, with the event, the member and the conversation's row
/// in one unit of work, but without announcing it to a router.
pub(super) async fn commit_change(world: &World, user: UserId, change: EventBody) -> Event {
    let (group, alice) = (world.group, world.alice);
    let mut new_event = NewEvent::of(change.kind(), None);
    new_event.body = body::encode(&change);
    let is_join = change.kind() == EventKind::MemberJoined;
    let unit = transact(&*world.store, move |tx| {
        let new_event = new_event.clone();
        Box::pin(async move {
            let event = append_to(tx, group, alice, &[new_event]).await?.remove(0);
            let mut member = Member::active(group, user, Role::Member, event.seq);
            if !is_join {
                member = tx.members_in(group, &[user]).await?.remove(0);
                member.state = MemberState::Left;
                member.until_seq = Some(event.seq);
            }
            tx.put_member(&member).await?;
            let mut row = tx.lock_conversation(group).await?.expect("the row exists");
            row.members_version = event.seq;
            tx.update_conversation(&row).await?;
            Ok(event)
        })
    });
    unit.await.unwrap()
}

/// Commits `change`, by which `user` leaves the group, and passes it to `router`.
pub(super) async fn leave(world: &World, router: &Router, user: UserId, change: EventBody) {
    router.committed(&[commit_change(world, user, change).await]);
}

/// Commits that `user` joined the group, and passes the event to `router`.
pub(super) async fn join(world: &World, router: &Router, user: UserId) {
    let change = EventBody::MemberJoined { user, by: None };
    router.committed(&[commit_change(world, user, change).await]);
}

/// Starts a session of Bob, and runs `meanwhile` between the read of his memberships and their use.
/// `slow` is the store that `router` reads.
async fn subscribe_while<F: Future<Output = ()>>(
    world: &World,
    router: &Router,
    slow: &FaultyStore,
    meanwhile: F,
) -> (Reader, Vec<MembershipView>) {
    let held = slow.hold_memberships();
    let outbox = Outbox::new(OutboxLimits::default());
    let subscribing = tokio::spawn({
        let router = router.clone();
        let caller = caller(world.bob, 1);
        async move { router.subscribe(caller, outbox).await }
    });
    settle().await;
    meanwhile.await;
    drop(held);
    let (guard, memberships) = subscribing.await.unwrap().unwrap();
    (Reader::of(guard), memberships)
}

/// Returns the last `Seq` of the group in `memberships`.
fn last_seq(world: &World, memberships: &[MembershipView]) -> Seq {
    let group = memberships.iter().find(|view| view.conversation.id == world.group);
    group.expect("Bob is a member of the group").conversation.last_seq
}

#[tokio::test(start_paused = true)]
async fn commit_after_the_memberships_were_read_is_reported_as_behind_to_a_later_session() {
    let world = world().await;
    let slow = faulty_store(&world);
    let router = node_over(&world, slow.clone(), None).await;
    let mut carol = Reader::attach(&router, world.carol, 1).await;
    let (mut bob, memberships) = subscribe_while(&world, &router, &slow, async {
        send_message(&world, &router, "between").await;
    })
    .await;
    assert_eq!(last_seq(&world, &memberships), Seq::ZERO);
    assert_eq!(carol.seqs(1).await, [1]);
    let behind = Push::Behind {
        conversation: world.group,
        last_seq: Seq(1),
    };
    assert_eq!(bob.next().await, behind);
    send_message(&world, &router, "after").await;
    assert_eq!(bob.seqs(1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn commit_after_the_memberships_were_read_is_pushed_to_the_first_session() {
    let world = world().await;
    let slow = faulty_store(&world);
    let router = node_over(&world, slow.clone(), None).await;
    let (mut bob, _) = subscribe_while(&world, &router, &slow, async {
        send_message(&world, &router, "between").await;
    })
    .await;
    assert_eq!(bob.seqs(1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn member_kicked_during_subscribe_learns_of_the_kick_and_gets_nothing_after() {
    for has_other_session in [false, true] {
        let world = world().await;
        let slow = faulty_store(&world);
        let router = node_over(&world, slow.clone(), None).await;
        let carol = match has_other_session {
            true => Some(Reader::attach(&router, world.carol, 1).await),
            false => None,
        };
        let (mut bob, _) = subscribe_while(&world, &router, &slow, async {
            let user = world.bob;
            leave(&world, &router, user, EventBody::MemberKicked { user, banned: false }).await;
            send_message(&world, &router, "he is gone").await;
        })
        .await;
        match bob.next().await {
            Push::Event(event) => assert_eq!(event.kind, EventKind::MemberKicked),
            behind => assert_eq!(
                behind,
                Push::Behind {
                    conversation: world.group,
                    last_seq: Seq(1)
                }
            ),
        }
        send_message(&world, &router, "long gone").await;
        bob.expect_nothing().await;
        drop(carol);
    }
}

#[tokio::test(start_paused = true)]
async fn user_who_joins_during_subscribe_gets_the_join_and_later_events() {
    for has_other_session in [false, true] {
        let world = world().await;
        let slow = faulty_store(&world);
        let router = node_over(&world, slow.clone(), None).await;
        let user = world.bob;
        leave(&world, &router, user, EventBody::MemberLeft { user }).await;
        let carol = match has_other_session {
            true => Some(Reader::attach(&router, world.carol, 1).await),
            false => None,
        };
        let (mut bob, _) = subscribe_while(&world, &router, &slow, async {
            join(&world, &router, user).await;
            send_message(&world, &router, "welcome").await;
        })
        .await;
        assert_eq!(bob.seqs(2).await, [2, 3]);
        bob.expect_nothing().await;
        drop(carol);
    }
}

#[tokio::test(start_paused = true)]
async fn session_closed_during_subscribe_leaves_nothing_behind() {
    let world = world().await;
    let slow = faulty_store(&world);
    let router = node_over(&world, slow.clone(), None).await;
    let (mut bob, _) = subscribe_while(&world, &router, &slow, async {
        router.close_sessions(world.bob, SessionSelector::All, CloseCode::Revoked);
    })
    .await;
    assert_eq!(bob.next().await, Push::Closed(CloseCode::Revoked));
    let stats = router.stats();
    assert_eq!((stats.sessions, stats.conversations), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn cancelled_subscribe_does_not_affect_other_sessions() {
    let world = world().await;
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let slow = faulty_store(&world);
    let here = node(&world, Some(Arc::clone(&bus))).await;
    let there = node_over(&world, slow.clone(), Some(bus)).await;
    // Each iteration cancels the call after a different number of steps.
    for steps in 0..40 {
        let outbox = Outbox::new(OutboxLimits::default());
        let cancelled = tokio::spawn({
            let there = there.clone();
            let caller = caller(world.carol, 1);
            async move { there.subscribe(caller, outbox).await }
        });
        let bob = tokio::spawn({
            let there = there.clone();
            let bob = world.bob;
            async move { Reader::attach(&there, bob, 1).await }
        });
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        cancelled.abort();
        let mut bob = bob.await.unwrap();
        let sent = tokio::time::Instant::now();
        let seq = send_message(&world, &here, "x").await[0].seq;
        assert_eq!(bob.event().await.seq, seq);
        assert!(
            sent.elapsed() < Duration::from_millis(500),
            "step {steps}: the event arrived late, so not by its doorbell"
        );
        drop(bob);
        let _ = cancelled.await;
        assert_eq!(
            (there.stats().sessions, there.stats().conversations),
            (0, 0),
            "step {steps}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn joined_user_gets_the_conversations_events_in_order() {
    let world = world().await;
    let router = node(&world, None).await;
    let user = world.bob;
    leave(&world, &router, user, EventBody::MemberLeft { user }).await;
    let mut bob = Reader::attach(&router, user, 1).await;
    // The join is committed without its event being passed to the router, which then handles
    // `joined` while messages follow.
    let joined = commit_change(&world, user, EventBody::MemberJoined { user, by: None })
        .await
        .seq;
    router.joined(user, world.group);
    for n in 0..20 {
        send_message(&world, &router, &n.to_string()).await;
        tokio::task::yield_now().await;
    }
    let first = joined.0;
    assert_eq!(bob.seqs(21).await, (first..first + 21).collect::<Vec<_>>());
    bob.expect_nothing().await;
}
