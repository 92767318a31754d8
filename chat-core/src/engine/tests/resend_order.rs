//! Tests that the drafts of one session in one conversation are stored in the order sent, even if
//! some were refused temporarily.

use std::time::Duration;

use super::pipelining::{BUSY, TRY_AGAIN, codes, drafts, send};
use super::support::*;
use crate::model::*;
use crate::testkit::store::FaultyStore;

/// Makes commits fail for longer than the engine retries one, or until `clear_commit_faults`.
fn fail_commits(store: &FaultyStore) {
    (0..32).for_each(|_| store.fail_before_commit());
}

#[tokio::test]
async fn draft_in_flight_does_not_overtake_a_refused_draft() {
    let (_engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let (notes, drafts) = (direct(&alice), drafts(1..=6));
    fail_commits(&store);
    assert_eq!(codes(send(&alice, &notes, &drafts[..2])).await, [TRY_AGAIN; 2]);
    store.clear_commit_faults();
    // The client sends more drafts before it receives the refusals, with another reference to the
    // same conversation. It resends draft 2 too early, and in the end all drafts in order.
    let same = ConversationRef::Id(info(&alice, notes.clone()).await.id);
    assert_eq!(codes(send(&alice, &same, &drafts[2..4])).await, [TRY_AGAIN; 2]);
    assert_eq!(
        codes(send(&alice, &notes, &drafts[1..2])).await,
        [TRY_AGAIN],
        "draft 1 must be stored first"
    );
    let elsewhere = ConversationRef::Id(create_group(&alice, "elsewhere").await);
    assert_eq!(codes(send(&alice, &elsewhere, &[draft("x")])).await, [0]);
    assert_eq!(codes(send(&alice, &notes, &drafts)).await, [0; 6]);
    assert_eq!(
        texts(&history(&alice, notes).await),
        ["first", "1", "2", "3", "4", "5", "6"]
    );
}

/// A client has many drafts in flight while the store fails repeatedly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelining_client_keeps_its_order_while_the_store_fails() {
    const DRAFTS: usize = 400;
    const MAX_IN_FLIGHT: usize = 24;
    let mut config = short_timeouts();
    // Shorter than the pause before a retry, so that an injected failure is answered at once.
    config.request_timeout = Duration::from_millis(20);
    // The circuit breaker stays closed.
    config.breaker_threshold = 1000;
    (config.max_batch_drafts, config.max_queued_drafts_per_conversation) = (3, 8);
    let (engine, store, alice) = engine_on_faulty_store(config).await;
    let drafts: Vec<Draft> = (0..DRAFTS).map(|n| draft(&n.to_string())).collect();
    let (answered, mut answers) = tokio::sync::mpsc::channel(MAX_IN_FLIGHT);
    // Drafts to send, in order: sending removes a draft, and a refusal puts it back in its place.
    let mut to_send: std::collections::BTreeSet<usize> = (0..DRAFTS).collect();
    let (mut in_flight, mut sent, mut stored, mut refused) = (0, 0, 0, 0);
    while stored < DRAFTS {
        while in_flight < MAX_IN_FLIGHT
            && let Some(n) = to_send.pop_first()
        {
            in_flight += 1;
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
            .expect("no answer arrived in time")
            .unwrap();
        in_flight -= 1;
        match answer {
            Ok(_) => stored += 1,
            Err(error) => {
                assert!(matches!(error.code.number(), BUSY | TRY_AGAIN), "{error}");
                refused += 1;
                to_send.insert(n);
            }
        }
    }
    store.clear_commit_faults();
    let mut stored_texts = Vec::new();
    let mut from = PageFrom::After(Seq::ZERO);
    loop {
        let page = Page { from, ..everything() };
        let conversation = direct(&alice);
        let Ok(Outcome::History(page)) = alice.execute(Command::ReadHistory { conversation, page }).await else {
            panic!("no history");
        };
        stored_texts.extend(texts(&page));
        match page.events.last() {
            Some(last) => from = PageFrom::After(last.event.seq),
            None => break,
        }
    }
    let expected = std::iter::once("first".to_owned()).chain((0..DRAFTS).map(|n| n.to_string()));
    assert!(refused > 0);
    assert_eq!(stored_texts, Vec::from_iter(expected));
    engine.shutdown().await;
}
