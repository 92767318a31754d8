//! Tests of feeds that several nodes share.

use super::*;

/// Positions of events, in the order in which they were added.
type Positions = Mutex<Vec<(ConversationId, Seq)>>;

/// Events that the consumer on one node has received, and those whose acknowledgements were stored.
#[derive(Debug, Default)]
struct Consumed {
    handed_out: Positions,
    acknowledged: Positions,
    changed: Notify,
}

/// Acknowledges every event of a feed until the feed ends.
async fn consume(feed: Feed, consumed: Arc<Consumed>) {
    while let Some(item) = feed.next().await {
        let position = (item.event().conversation, item.event().seq);
        consumed.handed_out.lock().push(position);
        if item.acknowledge().await.is_ok() {
            consumed.acknowledged.lock().push(position);
        }
        consumed.changed.notify_one();
    }
}

#[tokio::test]
async fn nodes_share_a_feed_and_one_takes_over_when_the_other_crashes() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let bus = Arc::new(MemoryBus::new());
    let node = async |store: Arc<dyn Store>| {
        let builder = Engine::builder(store).config(config()).bus(bus.clone());
        builder.build().await.unwrap()
    };
    let (crashing, surviving) = (node(store.clone()).await, node(memory.clone()).await);
    let names: Vec<_> = (0..24).map(|n| format!("user{n}")).collect();
    let users = join_all(names.iter().map(|name| new_user(&surviving, name))).await;
    let [by_crashing, by_surviving] = [(); 2].map(|()| Arc::new(Consumed::default()));
    let tasks = [(&crashing, &by_crashing), (&surviving, &by_surviving)].map(async |(engine, consumed)| {
        let feed = engine.feed(all_conversations()).await.unwrap();
        drop(tokio::spawn(consume(feed, Arc::clone(consumed))));
    });
    join_all(tasks).await;
    let all_users_send = async |n: usize| {
        join_all(users.iter().map(async |user| send(user, &n.to_string()).await)).await;
    };
    let mut rounds = 0;
    let started = Instant::now();
    let both_have_worked = || {
        [&by_crashing, &by_surviving]
            .iter()
            .all(|by| by.acknowledged.lock().len() > 50)
    };
    while !both_have_worked() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the nodes do not share the feed"
        );
        all_users_send(rounds).await;
        rounds += 1;
    }
    crash(crashing, &store);
    for _ in 0..5 {
        all_users_send(rounds).await;
        rounds += 1;
    }
    let total = users.len() * rounds;
    let notes: BTreeSet<_> = join_all(users.iter().map(async |user| info(user, direct(user)).await.id))
        .await
        .into_iter()
        .collect();
    let positions = |consumed: &Consumed, which: fn(&Consumed) -> &Positions| {
        let positions = which(consumed).lock().clone();
        positions
            .into_iter()
            .filter(|(id, _)| notes.contains(id))
            .collect::<Vec<_>>()
    };
    let acknowledged = |by: &Consumed| positions(by, |by| &by.acknowledged);
    let is_complete = || {
        let mut done: BTreeSet<_> = acknowledged(&by_surviving).into_iter().collect();
        // The crashing node may have stored one acknowledgement whose success its consumer did not
        // see.
        done.extend(positions(&by_crashing, |by| &by.handed_out));
        done.len() == total
    };
    while !is_complete() {
        let change = timeout(Duration::from_secs(20), by_surviving.changed.notified());
        change.await.expect("an event was not processed");
    }
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for position in acknowledged(&by_surviving)
        .into_iter()
        .chain(acknowledged(&by_crashing))
    {
        *counts.entry(position).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1), "an event was processed twice");
    let recorded: BTreeSet<_> = acknowledged(&by_crashing).into_iter().collect();
    let handed_out = positions(&by_surviving, |by| &by.handed_out);
    assert!(!handed_out.iter().any(|position| recorded.contains(position)));
}

#[tokio::test]
async fn node_that_lost_its_lease_cannot_acknowledge_and_the_event_is_handed_out_again() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let builder = Engine::builder(store.clone()).config(short_timeouts());
    // The first node loses its lease while its store hangs; the second node takes the lease over.
    let (first, second) = (
        builder.build().await.unwrap(),
        engine_on(memory, NodeId::random()).await,
    );
    let alice = new_user(&second, "alice").await;
    let old_feed = first.feed(all_conversations()).await.unwrap();
    for text in ["one", "two"] {
        send(&alice, text).await;
    }
    let is_one = is_text("one");
    let old_item = loop {
        let item = next(&old_feed).await;
        if is_one(item.event()) {
            break item;
        }
        item.acknowledge().await.unwrap();
    };
    let held = store.hold();
    let feed = second.feed(all_conversations()).await.unwrap();
    let item = next(&feed).await;
    assert_eq!(
        item.event(),
        old_item.event(),
        "the event is handed out again, because the lease expired"
    );
    drop(held);
    assert_eq!(old_item.acknowledge().await, Err(NotRecorded));
    item.acknowledge().await.unwrap();
    assert_eq!(messages(&drain(&feed, is_text("two")).await), ["two"]);
}

#[tokio::test]
async fn commits_of_another_node_arrive_with_and_without_a_bus() {
    for bus in [None, Some(Arc::new(MemoryBus::new()))] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let node = async || {
            let mut builder = Engine::builder(store.clone()).config(config());
            if let Some(bus) = &bus {
                builder = builder.bus(bus.clone());
            }
            builder.build().await.unwrap()
        };
        let (one, other) = (node().await, node().await);
        let alice = new_user(&one, "alice").await;
        // With a long lease, the node claims no shard again while the test runs. After a claim, it
        // scans the store, and would find the messages without news of their commits.
        let mut options = all_conversations();
        options.lease_ttl = Duration::from_secs(60);
        let feed = other.feed(options).await.unwrap();
        for text in ["one", "two"] {
            send(&alice, text).await;
            drain(&feed, is_text(text)).await;
        }
    }
}

#[tokio::test]
async fn feed_that_a_node_has_open_cannot_be_deleted() {
    let store = Arc::new(MemoryStore::new());
    let (one, other) = (
        engine_on(store.clone(), NODE).await,
        engine_on(store, NodeId::random()).await,
    );
    let alice = new_user(&one, "alice").await;
    send(&alice, "first").await;
    let mut options = all_conversations();
    options.lease_ttl = Duration::from_secs(3600);
    let feed = one.feed(options.clone()).await.unwrap();
    drain(&feed, is_text("first")).await;
    let refused = other.delete_feed("index").await;
    assert!(matches!(refused, Err(FeedError::OpenElsewhere(_))), "{refused:?}");
    feed.close().await;
    let feed = one.feed(options).await.unwrap();
    send(&alice, "second").await;
    assert_eq!(messages(&drain(&feed, is_text("second")).await), ["second"]);
    feed.close().await;
    other.delete_feed("index").await.unwrap();
}
