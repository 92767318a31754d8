//! A defect costs what it breaks, and nothing overtakes that.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::outages::faulty;
use super::support::*;
use super::wire::{INTERNAL, TRY_AGAIN, codes, drafts, send};
use crate::engine::Engine;
use crate::model::*;

/// The appender panics when it comes to this step next.
fn panics_at(engine: &Engine, step: &'static str) {
    *engine.core().appends.panics_at.lock() = Some(step);
}

#[tokio::test]
async fn a_store_that_panics_over_a_draft_has_nothing_overtake_it() {
    let (engine, store, alice) = faulty(config()).await;
    let bob = person(&engine, "bob").await;
    let room = group(&alice, "room").await;
    join(&bob, room).await;
    let group = ConversationRef::Id(room);
    let drafts = drafts(1..=4);
    store.fail_panicking();
    let held = store.hold();
    let mut begun = send(&alice, &group, &drafts[..1]);
    tokio::task::yield_now().await;
    begun.extend(send(&alice, &group, &drafts[1..3]));
    let others = send(&bob, &group, &[draft("bob's")]);
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(codes(begun).await, [INTERNAL, TRY_AGAIN, TRY_AGAIN]);
    assert_eq!(codes(others).await, [0], "nobody else suffers for it");
    assert_eq!(codes(send(&alice, &group, &drafts[3..])).await, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &group, &drafts)).await, [0; 4]);
    assert_eq!(texts(&history(&alice, group).await), ["bob's", "1", "2", "3", "4"]);
}

/// Something that must not be woken.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics on purpose");
    }
}

#[tokio::test]
async fn a_caller_whose_waker_panics_holds_nobody_up() {
    let engine = builder().build().await.unwrap();
    let alice = person(&engine, "alice").await;
    let mut bad = Box::pin(alice.send_text(direct(&alice), "bad"));
    let waker = Waker::from(Arc::new(Panicking));
    let mut cx = Context::from_waker(&waker);
    assert!(bad.as_mut().poll(&mut cx).is_pending());
    let good = alice.send_text(direct(&alice), "good");
    assert_eq!(good.await.unwrap().seq, Seq(2), "of the same batch");
    assert_eq!(alice.send_text(direct(&alice), "next").await.unwrap().seq, Seq(3));
    assert_eq!(bad.await.unwrap().seq, Seq(1), "it is answered all the same");
}

/// Sends five drafts, the appender panicking over them at this step, and what was refused again until all are stored.
async fn five(step: &'static str) {
    let engine = builder().build().await.unwrap();
    let (alice, bob) = (person(&engine, "alice").await, person(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let (there, drafts) = (direct(&bob), drafts(1..=5));
    panics_at(&engine, step);
    let mut answers = codes(send(&alice, &there, &drafts[..3])).await;
    answers.extend(codes(send(&alice, &there, &drafts[3..4])).await);
    let stored = answers.iter().take_while(|code| **code == 0).count();
    assert!(
        stored < 4 && answers[stored..].iter().all(|code| *code == TRY_AGAIN),
        "{step}: {answers:?}"
    );
    assert_eq!(codes(send(&alice, &there, &drafts[4..])).await, [TRY_AGAIN], "{step}");
    assert_eq!(
        codes(send(&alice, &there, &drafts[stored..])).await,
        vec![0; 5 - stored]
    );
    assert_eq!(
        texts(&history(&alice, there).await),
        ["1", "2", "3", "4", "5"],
        "{step}"
    );
    // Nobody is stuck.
    bob.send_text(direct(&alice), "6").await.unwrap();
}

#[tokio::test]
async fn a_panic_of_the_appender_forgets_no_order() {
    for step in ["arrive", "prepared", "enter", "begin"] {
        five(step).await;
    }
}

#[tokio::test]
async fn a_panic_over_a_refusal_forgets_no_order() {
    let (engine, store, alice) = faulty(super::outages::quick()).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=4));
    (0..32).for_each(|_| store.fail_before_commit());
    panics_at(&engine, "committed");
    let held = store.hold();
    let mut begun = send(&alice, &notes, &drafts[..1]);
    tokio::task::yield_now().await;
    begun.extend(send(&alice, &notes, &drafts[1..3]));
    drop(held);
    assert_eq!(codes(begun).await, [TRY_AGAIN; 3]);
    store.set_faultless();
    assert_eq!(codes(send(&alice, &notes, &drafts[3..])).await, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &notes, &drafts)).await, [0; 4]);
    assert_eq!(texts(&history(&alice, notes).await), ["first", "1", "2", "3", "4"]);
}

/// What was refused earlier, of other conversations and sessions too, stays held.
#[tokio::test]
async fn a_panic_over_something_else_leaves_holds_alone() {
    let (engine, store, alice) = faulty(super::outages::quick()).await;
    let bob = person(&engine, "bob").await;
    let (notes, drafts) = (direct(&alice), drafts(1..=2));
    (0..32).for_each(|_| store.fail_before_commit());
    assert_eq!(codes(send(&alice, &notes, &drafts[..1])).await, [TRY_AGAIN]);
    store.set_faultless();
    panics_at(&engine, "arrive");
    let lost = codes(send(&bob, &direct(&bob), &[draft("x")])).await;
    assert_eq!(lost, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &notes, &drafts[1..])).await, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &notes, &drafts)).await, [0, 0]);
}

/// The transaction that is under way stays the only one.
#[tokio::test]
async fn a_panic_beside_a_commit_lets_nothing_overtake_it() {
    let (engine, store, alice) = faulty(config()).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=2));
    store.fail_before_commit();
    let held = store.hold();
    let mut answers = send(&alice, &notes, &drafts[..1]);
    tokio::task::yield_now().await;
    panics_at(&engine, "begin");
    assert_eq!(codes(send(&alice, &notes, &drafts[1..])).await, [TRY_AGAIN]);
    answers.extend(send(&alice, &notes, &drafts[1..]));
    tokio::task::yield_now().await;
    // The first one fails, and is tried once more a little later.
    drop(held);
    assert_eq!(codes(answers).await, [0, 0]);
    assert_eq!(texts(&history(&alice, notes).await), ["first", "1", "2"]);
}
