//! What happens between two steps of a session that begins.

use super::*;
use crate::model::{Member, MemberState, Role};
use crate::store::MembershipView;
use crate::testkit::store::{FaultyStore, act, append_to};

fn slow_over(world: &World) -> Arc<FaultyStore> {
    Arc::new(FaultyStore::new(Arc::clone(&world.store)))
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Changes a user's place the way the engine does: the event, the place and the conversation's row in one unit. Tells nobody.
pub(super) async fn replace(world: &World, user: UserId, happened: EventBody) -> Event {
    let (group, alice) = (world.group, world.alice);
    let mut draft = Draft::of(happened.kind(), None);
    draft.body = body::encode(&happened);
    let comes = happened.kind() == EventKind::MemberJoined;
    let unit = act(&*world.store, move |tx| {
        let draft = draft.clone();
        Box::pin(async move {
            let event = append_to(tx, group, alice, &[draft]).await?.remove(0);
            let mut member = Member::active(group, user, Role::Member, event.seq);
            if !comes {
                member = tx.members_in(group, &[user]).await?.remove(0);
                member.state = MemberState::Left;
                member.until_seq = Some(event.seq);
            }
            tx.put_member(&member).await?;
            let mut row = tx.lock_conversation(group).await?.expect("it is there");
            row.members_version = event.seq;
            tx.update_conversation(&row).await?;
            Ok(event)
        })
    });
    unit.await.unwrap()
}

pub(super) async fn leave(world: &World, router: &Router, user: UserId, happened: EventBody) {
    router.committed(&[replace(world, user, happened).await]);
}

pub(super) async fn join(world: &World, router: &Router, user: UserId) {
    let happened = EventBody::MemberJoined { user, by: None };
    router.committed(&[replace(world, user, happened).await]);
}

/// Begins a session of Bob, lets `meanwhile` happen once its heads were read, and goes on.
async fn attach_while<F: Future<Output = ()>>(
    world: &World,
    router: &Router,
    slow: &FaultyStore,
    meanwhile: F,
) -> (Reader, Vec<MembershipView>) {
    let held = slow.hold_memberships();
    let outbox = Outbox::new(OutboxLimits::default());
    let attaching = tokio::spawn({
        let router = router.clone();
        let caller = caller(world.bob, 1);
        async move { router.subscribe(caller, outbox).await }
    });
    settle().await;
    meanwhile.await;
    drop(held);
    let (attachment, heads) = attaching.await.unwrap().unwrap();
    (Reader::of(attachment), heads)
}

fn last_seq(world: &World, heads: &[MembershipView]) -> Seq {
    let head = heads.iter().find(|head| head.conversation.id == world.group);
    head.expect("Bob was in the group").conversation.last_seq
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_after_the_heads_were_read_is_told_though_others_got_it_already() {
    let world = world().await;
    let slow = slow_over(&world);
    let router = node_over(&world, slow.clone(), None).await;
    let mut carol = Reader::attach(&router, world.carol, 1).await;
    let (mut bob, heads) = attach_while(&world, &router, &slow, async {
        say(&world, &router, "between").await;
    })
    .await;
    assert_eq!(last_seq(&world, &heads), Seq::ZERO);
    assert_eq!(carol.seqs(1).await, [1]);
    let behind = Push::Behind {
        conversation: world.group,
        last_seq: Seq(1),
    };
    assert_eq!(bob.next().await, behind);
    say(&world, &router, "after").await;
    assert_eq!(bob.seqs(1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_after_the_heads_were_read_is_pushed_to_the_first_session() {
    let world = world().await;
    let slow = slow_over(&world);
    let router = node_over(&world, slow.clone(), None).await;
    let (mut bob, _) = attach_while(&world, &router, &slow, async {
        say(&world, &router, "between").await;
    })
    .await;
    assert_eq!(bob.seqs(1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn who_is_kicked_while_attaching_gets_the_kick_and_nothing_after() {
    for others in [false, true] {
        let world = world().await;
        let slow = slow_over(&world);
        let router = node_over(&world, slow.clone(), None).await;
        let carol = match others {
            true => Some(Reader::attach(&router, world.carol, 1).await),
            false => None,
        };
        let (mut bob, _) = attach_while(&world, &router, &slow, async {
            let user = world.bob;
            leave(&world, &router, user, EventBody::MemberKicked { user, banned: false }).await;
            say(&world, &router, "he is gone").await;
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
        say(&world, &router, "long gone").await;
        bob.nothing().await;
        drop(carol);
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_while_attaching_gets_the_joining_and_all_after() {
    for others in [false, true] {
        let world = world().await;
        let slow = slow_over(&world);
        let router = node_over(&world, slow.clone(), None).await;
        let user = world.bob;
        leave(&world, &router, user, EventBody::MemberLeft { user }).await;
        let carol = match others {
            true => Some(Reader::attach(&router, world.carol, 1).await),
            false => None,
        };
        let (mut bob, _) = attach_while(&world, &router, &slow, async {
            join(&world, &router, user).await;
            say(&world, &router, "welcome").await;
        })
        .await;
        assert_eq!(bob.seqs(2).await, [2, 3]);
        bob.nothing().await;
        drop(carol);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_while_attaching_leaves_nothing_behind() {
    let world = world().await;
    let slow = slow_over(&world);
    let router = node_over(&world, slow.clone(), None).await;
    let (mut bob, _) = attach_while(&world, &router, &slow, async {
        router.close_sessions(world.bob, SessionSelector::All, CloseCode::Revoked);
    })
    .await;
    assert_eq!(bob.next().await, Push::Closed(CloseCode::Revoked));
    let stats = router.stats();
    assert_eq!((stats.sessions, stats.conversations), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_attach_that_is_given_up_takes_nothing_from_others() {
    let world = world().await;
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let slow = slow_over(&world);
    let here = node(&world, Some(Arc::clone(&bus))).await;
    let there = node_over(&world, slow.clone(), Some(bus)).await;
    // At every step of it.
    for steps in 0..40 {
        let outbox = Outbox::new(OutboxLimits::default());
        let given_up = tokio::spawn({
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
        given_up.abort();
        let mut bob = bob.await.unwrap();
        let said = tokio::time::Instant::now();
        let seq = say(&world, &here, "x").await[0].seq;
        assert_eq!(bob.event().await.seq, seq);
        assert!(
            said.elapsed() < Duration::from_millis(500),
            "step {steps}: by bell, not by sweep"
        );
        drop(bob);
        let _ = given_up.await;
        assert_eq!(
            (there.stats().sessions, there.stats().conversations),
            (0, 0),
            "step {steps}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_into_a_conversation_gets_its_events_in_order() {
    let world = world().await;
    let router = node(&world, None).await;
    let user = world.bob;
    leave(&world, &router, user, EventBody::MemberLeft { user }).await;
    let mut bob = Reader::attach(&router, user, 1).await;
    // Committed by somebody who did not tell; then placed while more is said.
    let joined = replace(&world, user, EventBody::MemberJoined { user, by: None })
        .await
        .seq;
    router.joined(user, world.group);
    for n in 0..20 {
        say(&world, &router, &n.to_string()).await;
        tokio::task::yield_now().await;
    }
    let first = joined.0;
    assert_eq!(bob.seqs(21).await, (first..first + 21).collect::<Vec<_>>());
    bob.nothing().await;
}
