//! Cases for a store as a whole: its epoch, its cluster key, its clock, the time of its newest
//! event, `ping` and `close`.

use std::sync::Arc;

use super::fixture::{NewEvent, World, append, create, device_id, messages, new_group, page};
use crate::model::{ConversationId, NodeId, PageFrom, Seq, UserId};
use crate::store::{Store, StoreError};

pub async fn epoch_is_stable(store: Arc<dyn Store>) {
    let epoch = store.epoch().await.unwrap();
    create(&*store, new_group("g")).await.unwrap();
    assert_eq!(store.epoch().await.unwrap(), epoch);
}

pub async fn cluster_key_is_stable(store: Arc<dyn Store>) {
    let key = store.cluster_key().await.unwrap();
    create(&*store, new_group("g")).await.unwrap();
    assert_eq!(store.cluster_key().await.unwrap().expose(), key.expose());
}

pub async fn ping_succeeds_on_an_open_store(store: Arc<dyn Store>) {
    store.ping().await.unwrap();
}

pub async fn newest_event_time_is_the_latest_of_all_conversations(store: Arc<dyn Store>) {
    let world = World::new(Arc::clone(&store)).await;
    let newest = async || store.newest_event_time().await.unwrap();
    let last_of = async |conversation, texts: &[&'static str]| {
        let new = texts.iter().map(|text| NewEvent::message(*text)).collect();
        let events = append(&*store, conversation, world.alice, new).await.unwrap();
        events.last().unwrap().time
    };
    // Conversations without events, which the world has too, do not count. Each event of a
    // conversation is one millisecond later than the event before it.
    let second = last_of(world.group, &["one", "two"]).await;
    assert_eq!(newest().await, Some(second));
    let other = create(&*store, new_group("other")).await.unwrap();
    assert!(last_of(other, &["one"]).await < second);
    assert_eq!(newest().await, Some(second), "appended last, but earlier");
    let third = last_of(other, &["two", "three"]).await;
    assert!(third > second);
    assert_eq!(newest().await, Some(third));
}

/// A store with a time of day tells the same time, within a minute, in its answers to heartbeats.
pub async fn time_of_day_agrees_with_heartbeats(store: Arc<dyn Store>) {
    let time = store.time().await.unwrap();
    let heartbeat = store.heartbeat(NodeId::random()).await.unwrap();
    assert_eq!(time.is_some(), heartbeat.time.is_some());
    if let (Some(first), Some(second)) = (time, heartbeat.time) {
        assert!((second.0 - first.0).abs() < 60_000, "{first:?} {second:?}");
        let system_time = crate::clock::Clock::now(&crate::clock::SystemClock);
        assert!(
            (system_time.0 - first.0).abs() < 86_400_000,
            "milliseconds since 1970: {first:?}"
        );
    }
}

pub async fn closed_store_is_unavailable(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    world.store.close().await;
    world.store.close().await;
    let (store, user, id) = (&world.store, world.alice, world.group);
    let one_page = page(PageFrom::Newest);
    let answers = [
        store.account(user).await.err(),
        store.accounts(&[user]).await.err(),
        store.devices(user).await.err(),
        store.contacts(user, UserId(0), 100).await.err(),
        store
            .memberships(user, device_id(1), ConversationId(0), u32::MAX)
            .await
            .err(),
        store.members(id, UserId(0), 1).await.err(),
        store.log_versions(&[id]).await.err(),
        store.stats().await.err(),
        store.feed_leases("feed").await.err(),
        store.events_for(user, id, one_page).await.err(),
        store.events(id, Seq(1), Seq(1), 1).await.err(),
        store.find_sent(user, &[]).await.err(),
        store.advance_cursors(&[]).await.err(),
        store.advance_reads(&[(user, id, Seq(1))]).await.err(),
        store.epoch().await.err(),
        store.cluster_key().await.err(),
        store.ping().await.err(),
        store.heartbeat(NodeId::random()).await.err(),
        append(&**store, id, user, messages(1)).await.err(),
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        assert!(
            matches!(answer, Some(StoreError::Unavailable(_))),
            "call {index}: {answer:?}"
        );
    }
}

pub async fn units_complete_or_fail_while_the_store_closes(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (store, group, alice) = (Arc::clone(&world.store), world.group, world.alice);
        running.spawn(async move { append(&*store, group, alice, messages(5)).await });
    }
    tokio::task::yield_now().await;
    world.store.close().await;
    for answer in running.join_all().await {
        match answer {
            Ok(events) => assert_eq!(events.len(), 5),
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
    }
}
