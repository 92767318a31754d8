//! Tests that a panic in the store or in a caller's waker affects only the commands involved, and
//! keeps the order of the others.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use super::outages::faulty;
use super::pipelining::{INTERNAL, TRY_AGAIN, codes, drafts, send};
use super::support::*;
use crate::commands::Commands;
use crate::model::*;

#[tokio::test]
async fn draft_does_not_overtake_one_on_which_the_store_panicked() {
    let (engine, store, alice) = faulty(config()).await;
    let bob = new_user(&engine, "bob").await;
    let group_id = group(&alice, "room").await;
    join(&bob, group_id).await;
    let group = ConversationRef::Id(group_id);
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
    assert_eq!(codes(others).await, [0], "other sessions are not affected");
    assert_eq!(codes(send(&alice, &group, &drafts[3..])).await, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &group, &drafts)).await, [0; 4]);
    assert_eq!(texts(&history(&alice, group).await), ["bob's", "1", "2", "3", "4"]);
}

/// A waker that panics.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("injected panic of a waker");
    }
}

#[tokio::test]
async fn caller_whose_waker_panics_does_not_affect_others() {
    let engine = builder().build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let mut bad = Box::pin(alice.send_text(direct(&alice), "bad"));
    let waker = Waker::from(Arc::new(Panicking));
    let mut cx = Context::from_waker(&waker);
    assert!(bad.as_mut().poll(&mut cx).is_pending());
    let good = alice.send_text(direct(&alice), "good");
    assert_eq!(good.await.unwrap().seq, Seq(2), "a draft of the same batch is answered");
    assert_eq!(alice.send_text(direct(&alice), "next").await.unwrap().seq, Seq(3));
    assert_eq!(bad.await.unwrap().seq, Seq(1), "the caller still gets its answer");
}
