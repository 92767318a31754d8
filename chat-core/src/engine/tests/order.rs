//! What one session sends to one conversation is stored in the order sent, also if some of it was refused temporarily.

use std::time::Duration;

use super::outages::{faulty, quick};
use super::support::*;
use super::wire::{BUSY, TRY_AGAIN, codes, drafts, send};
use crate::model::*;
use crate::testkit::store::FaultyStore;

/// Fails until it is told to be well again, or a request has been given up.
fn fails(store: &FaultyStore) {
    (0..32).for_each(|_| store.fail_before_commit());
}

#[tokio::test]
async fn what_was_on_the_wire_does_not_overtake_what_got_no_answer() {
    let (_engine, store, alice) = faulty(quick()).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=6));
    fails(&store);
    assert_eq!(codes(send(&alice, &notes, &drafts[..2])).await, [TRY_AGAIN; 2]);
    store.set_faultless();
    // These were sent before that was heard, by another name of the conversation; then everything comes again.
    let same = ConversationRef::Id(info(&alice, notes.clone()).await.id);
    assert_eq!(codes(send(&alice, &same, &drafts[2..4])).await, [TRY_AGAIN; 2]);
    assert_eq!(
        codes(send(&alice, &notes, &drafts[1..2])).await,
        [TRY_AGAIN],
        "1 comes first"
    );
    let elsewhere = ConversationRef::Id(group(&alice, "elsewhere").await);
    assert_eq!(codes(send(&alice, &elsewhere, &[draft("x")])).await, [0]);
    assert_eq!(codes(send(&alice, &notes, &drafts)).await, [0; 6]);
    assert_eq!(
        texts(&history(&alice, notes).await),
        ["first", "1", "2", "3", "4", "5", "6"]
    );
}

#[tokio::test]
async fn nor_what_found_a_full_lane() {
    let mut config = config();
    (config.max_batch_drafts, config.max_lane_drafts) = (2, 2);
    let (_engine, store, alice) = faulty(config).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=8));
    let held = store.hold();
    let begun = send(&alice, &notes, &drafts[..2]);
    tokio::task::yield_now().await;
    let waiting = send(&alice, &notes, &drafts[2..6]);
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(codes(begun).await, [0, 0]);
    assert_eq!(codes(waiting).await, [0, 0, BUSY, BUSY]);
    assert_eq!(codes(send(&alice, &notes, &drafts[6..7])).await, [BUSY]);
    assert_eq!(codes(send(&alice, &notes, &drafts[4..6])).await, [0, 0]);
    assert_eq!(codes(send(&alice, &notes, &drafts[7..])).await, [BUSY]);
    assert_eq!(codes(send(&alice, &notes, &drafts[6..])).await, [0, 0]);
    assert_eq!(
        texts(&history(&alice, notes).await),
        ["first", "1", "2", "3", "4", "5", "6", "7", "8"]
    );
}

#[tokio::test]
async fn nor_what_found_a_full_node() {
    let mut config = config();
    config.max_batch_bytes = 2048;
    (config.max_lane_bytes, config.max_queued_bytes) = (2048, 2048);
    let (_engine, store, alice) = faulty(config).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=8));
    let held = store.hold();
    let begun = send(&alice, &notes, &drafts[..6]);
    drop(held);
    let codes_of = codes(begun).await;
    let fit = codes_of.iter().take_while(|code| **code == 0).count();
    assert!(
        (1..6).contains(&fit) && codes_of[fit..].iter().all(|code| *code == BUSY),
        "{codes_of:?}"
    );
    assert_eq!(codes(send(&alice, &notes, &drafts[6..7])).await, [BUSY]);
    for draft in &drafts[fit..] {
        assert_eq!(codes(send(&alice, &notes, std::slice::from_ref(draft))).await, [0]);
    }
    assert_eq!(texts(&history(&alice, notes).await).len(), 9);
}

#[tokio::test]
async fn nor_what_could_not_be_looked_up() {
    let (engine, store, alice) = faulty(quick()).await;
    let bob = person(&engine, "bob").await;
    befriend(&alice, &bob).await;
    let (to_bob, drafts) = (direct(&bob), drafts(1..=3));
    store.set_unavailable(true);
    assert_eq!(codes(send(&alice, &to_bob, &drafts[..2])).await, [TRY_AGAIN; 2]);
    store.set_unavailable(false);
    assert_eq!(codes(send(&alice, &to_bob, &drafts[2..])).await, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &to_bob, &drafts)).await, [0; 3]);
    assert_eq!(texts(&history(&alice, to_bob).await), ["1", "2", "3"]);
}

#[tokio::test]
async fn what_was_given_up_holds_nothing_back_for_long() {
    let mut config = quick();
    config.resend_window = Duration::from_millis(10);
    let (_engine, store, alice) = faulty(config).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=2));
    fails(&store);
    assert_eq!(codes(send(&alice, &notes, &drafts[..1])).await, [TRY_AGAIN]);
    store.set_faultless();
    let (mut refused, started) = (0, std::time::Instant::now());
    while codes(send(&alice, &notes, &drafts[1..])).await != [0] {
        refused += 1;
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert!(refused > 0);
}

/// A peer that has many drafts under way, over a connection, while the store fails every now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipelining_peer_keeps_its_order() {
    const DRAFTS: usize = 400;
    const WINDOW: usize = 24;
    let mut config = quick();
    // An injected failure is answered at once.
    config.request_timeout = Duration::from_millis(20);
    config.breaker_threshold = 1000;
    (config.max_batch_drafts, config.max_lane_drafts) = (3, 8);
    let (engine, store, alice) = faulty(config).await;
    let drafts: Vec<Draft> = (0..DRAFTS).map(|n| draft(&n.to_string())).collect();
    let (answered, mut answers) = tokio::sync::mpsc::channel(WINDOW);
    // What has to be sent, in its order; what was sent is taken out, what was refused put back into its place.
    let mut to_send: std::collections::BTreeSet<usize> = (0..DRAFTS).collect();
    let (mut under_way, mut sent, mut stored, mut refused) = (0, 0, 0, 0);
    while stored < DRAFTS {
        while under_way < WINDOW
            && let Some(n) = to_send.pop_first()
        {
            under_way += 1;
            sent += 1;
            if sent % 29 == 0 {
                store.fail_before_commit();
            }
            let (conversation, draft) = (direct(&alice), drafts[n].clone());
            let answer = alice.execute(Command::Send { conversation, draft });
            let answered = answered.clone();
            tokio::spawn(async move { answered.send((n, answer.await)).await.unwrap() });
        }
        let (n, answer) = tokio::time::timeout(Duration::from_secs(20), answers.recv())
            .await
            .expect("nothing goes on")
            .unwrap();
        under_way -= 1;
        match answer {
            Ok(_) => stored += 1,
            Err(error) => {
                assert!(matches!(error.code.number(), BUSY | TRY_AGAIN), "{error}");
                refused += 1;
                to_send.insert(n);
            }
        }
    }
    store.set_faultless();
    let mut said = Vec::new();
    let mut from = PageFrom::After(Seq::ZERO);
    loop {
        let page = Page { from, ..everything() };
        let conversation = direct(&alice);
        let Ok(Outcome::History(page)) = alice.execute(Command::ReadHistory { conversation, page }).await else {
            panic!();
        };
        said.extend(texts(&page));
        match page.events.last() {
            Some(last) => from = PageFrom::After(last.event.seq),
            None => break,
        }
    }
    let expected = std::iter::once("first".to_owned()).chain((0..DRAFTS).map(|n| n.to_string()));
    assert!(refused > 0);
    assert_eq!(said, Vec::from_iter(expected));
    engine.shutdown().await;
}
