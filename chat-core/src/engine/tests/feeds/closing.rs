//! Tests of acknowledgements while a feed or its engine closes.

use super::*;

#[tokio::test]
async fn closing_waits_for_the_consumer_and_records_its_acknowledgements() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    send(&alice, "last").await;
    let feed = engine.feed(all_conversations()).await.unwrap();
    let is_last = is_text("last");
    let item = loop {
        let item = next(&feed).await;
        if is_last(item.event()) {
            break item;
        }
        item.done();
    };
    let closing = tokio::spawn(feed.close());
    tokio::task::yield_now().await;
    assert!(!closing.is_finished());
    item.done();
    timeout(Duration::from_secs(2), closing)
        .await
        .expect("the feed does not close")
        .unwrap();
    let feed = engine.feed(all_conversations()).await.unwrap();
    send(&alice, "next").await;
    assert_eq!(messages(&drain(&feed, is_text("next")).await), ["next"]);
}

#[tokio::test]
async fn acknowledgement_that_cannot_be_recorded_fails_when_the_engine_shuts_down() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    send(&alice, "second").await;
    let feed = engine.feed(all_conversations()).await.unwrap();
    let mut items = Vec::new();
    while items.len() < 2 {
        let item = next(&feed).await;
        match message(item.event()) {
            Some(_) => items.push(item),
            None => item.done(),
        }
    }
    let late = items.pop().unwrap();
    store.set_unavailable(true);
    let acknowledging = tokio::spawn(items.pop().unwrap().acknowledge());
    engine.shutdown().await;
    let limit = Duration::from_secs(20);
    let recorded = timeout(limit, acknowledging)
        .await
        .expect("the acknowledgement waits forever");
    assert_eq!(recorded.unwrap(), Err(NotRecorded));
    let recorded = timeout(limit, late.acknowledge()).await;
    assert_eq!(recorded.expect("the acknowledgement waits forever"), Err(NotRecorded));
    assert!(feed.next().await.is_none());
    timeout(limit, feed.close())
        .await
        .expect("closing waits although the engine has ended");
}

#[tokio::test]
async fn acknowledgement_that_cannot_be_recorded_fails_when_the_engine_is_dropped() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let feed = engine.feed(all_conversations()).await.unwrap();
    let item = first_message(&feed).await;
    store.set_unavailable(true);
    let acknowledging = tokio::spawn(item.acknowledge());
    drop((engine, alice));
    let recorded = timeout(Duration::from_secs(20), acknowledging).await;
    assert_eq!(
        recorded.expect("the acknowledgement waits forever").unwrap(),
        Err(NotRecorded)
    );
    assert!(feed.next().await.is_none());
}
