//! Cases about calls whose future is dropped before it has completed.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::fixture::{NewEvent, SeededRng, World, append, create_account, device_id, messages};
use crate::model::{ClientMessageId, Seq};
use crate::store::Store;

/// Polls a future up to `polls` times, lets other tasks run after each poll, and drops the future.
async fn poll_and_drop(future: impl Future, polls: u64) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub async fn dropped_units_commit_completely_or_not_at_all(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    // Round in which each message was sent, three messages in a round.
    let mut rounds: BTreeMap<ClientMessageId, usize> = BTreeMap::new();
    for round in 0..60 {
        let new_events = messages(3);
        for new_event in &new_events {
            rounds.insert(new_event.client_message_id.unwrap(), round);
        }
        poll_and_drop(
            append(&*world.store, world.group, world.alice, new_events),
            round as u64 % 4,
        )
        .await;
        if round % 10 == 9 {
            append(&*world.store, world.group, world.alice, vec![NewEvent::message("kept")])
                .await
                .unwrap();
        }
    }
    let stored = world
        .store
        .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
        .await
        .unwrap();
    assert!(stored.iter().map(|event| event.seq.0).eq(1..=stored.len() as u64));
    let mut stored_of_round = BTreeMap::new();
    for event in &stored {
        if let Some(round) = rounds.get(&event.client_message_id.unwrap()) {
            *stored_of_round.entry(round).or_insert(0) += 1;
        }
    }
    assert!(stored_of_round.values().all(|count| *count == 3), "{stored_of_round:?}");
    let kept = stored.iter().filter(|event| event.body == "kept").count();
    assert_eq!(kept, 6);
}

pub async fn dropped_reads_do_not_answer_later_reads(store: Arc<dyn Store>) {
    let mut users = Vec::new();
    for number in 0..20 {
        let name = format!("user {number}");
        users.push((create_account(&*store, &name).await, name));
    }
    let mut rng = SeededRng::new(7);
    for _ in 0..500 {
        let (dropped, _) = &users[rng.below(20) as usize];
        poll_and_drop(store.account(*dropped), rng.below(3)).await;
        let (id, name) = &users[rng.below(20) as usize];
        assert_eq!(&store.account(*id).await.unwrap().unwrap().name, name);
        assert_eq!(store.account_by_name(name).await.unwrap().unwrap().id, *id);
    }
}

pub async fn dropped_cursor_moves_leave_a_valid_cursor(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.say(messages(50)).await;
    for seq in 1..=50 {
        let moves = [(world.bob, device_id(1), world.group, Seq(seq))];
        poll_and_drop(world.store.advance_cursors(&moves), seq % 3).await;
        let membership = world.membership(world.bob).await;
        assert!(membership.cursor <= Seq(seq));
        assert_eq!(membership.member.delivered_seq, membership.cursor);
    }
    world
        .store
        .advance_cursors(&[(world.bob, device_id(1), world.group, Seq(50))])
        .await
        .unwrap();
    assert_eq!(world.membership(world.bob).await.cursor, Seq(50));
}

pub async fn dropped_unit_does_not_block_the_next(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for round in 0..20 {
        poll_and_drop(append(&*world.store, world.group, world.alice, messages(1)), 1).await;
        let events = append(&*world.store, world.group, world.bob, messages(1))
            .await
            .unwrap();
        assert!(events[0].seq.0 > round, "{:?}", events[0].seq);
    }
}
