//! Tests that a feed hands out every event, and repeats only events whose acknowledgement was not
//! recorded, over restarts, crashes and outages.

use super::*;

#[tokio::test]
async fn feed_hands_out_each_event_once_and_in_order_while_many_users_send() {
    let engine = engine().await;
    let feed = engine.feed(all_conversations()).await.unwrap();
    let owner = new_user(&engine, "olga").await;
    let group = create_group(&owner, "crowd").await;
    let names: Vec<_> = (0..6).map(|n| format!("sender{n}")).collect();
    let senders = join_all(names.iter().map(|name| new_user(&engine, name))).await;
    for sender in &senders {
        join(sender, group).await;
    }
    let sending = join_all(senders.iter().map(async |sender| {
        for n in 0..60 {
            sender
                .send_text(ConversationRef::Id(group), &n.to_string())
                .await
                .unwrap();
            send(sender, "note").await;
        }
    }));
    let receiving = async {
        let mut last: HashMap<ConversationId, Seq> = HashMap::new();
        let mut count = 0;
        while count < 2 * 6 * 60 {
            let item = next(&feed).await;
            let event = item.event();
            let head = last.entry(event.conversation).or_insert(Seq::ZERO);
            assert_eq!(event.seq, head.next(), "in {}", event.conversation);
            *head = event.seq;
            count += usize::from(event.kind == EventKind::Message);
            item.done();
        }
    };
    tokio::join!(sending, receiving);
    send(&owner, "the end").await;
    let rest = drain(&feed, is_text("the end")).await;
    assert_eq!(messages(&rest), ["the end"], "an event was handed out twice");
}

#[tokio::test]
async fn feed_resumes_after_the_events_acknowledged_before_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let first = engine_on(store.clone(), NODE).await;
    let alice = new_user(&first, "alice").await;
    let feed = first.feed(all_conversations()).await.unwrap();
    for text in ["one", "two", "three"] {
        send(&alice, text).await;
    }
    drain(&feed, is_text("three")).await;
    first.shutdown().await;
    assert!(feed.next().await.is_none(), "the engine has ended");

    let second = engine_on(store.clone(), NodeId::random()).await;
    let alice = second.session(id(&alice), DeviceId::random()).await.unwrap();
    let feed = second.feed(all_conversations()).await.unwrap();
    send(&alice, "four").await;
    assert_eq!(messages(&drain(&feed, is_text("four")).await), ["four"]);
    feed.close().await;

    // Closing released the leases: the feed can be opened again at once, also by another node.
    let third = engine_on(store, NodeId::random()).await;
    let feed = third.feed(all_conversations()).await.unwrap();
    send(&alice, "five").await;
    assert_eq!(messages(&drain(&feed, is_text("five")).await), ["five"]);
}

#[tokio::test]
async fn crash_repeats_all_events_from_the_first_unacknowledged_one() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let first = engine_on(store.clone(), NODE).await;
    let alice = new_user(&first, "alice").await;
    let feed = first.feed(all_conversations()).await.unwrap();
    for n in 1..=10 {
        send(&alice, &n.to_string()).await;
    }
    let mut kept = Vec::new();
    // Ten messages, and the event that opened the conversation, in the inbox.
    for _ in 0..11 {
        let item = next(&feed).await;
        match item.event().seq.0 {
            1..=4 if item.event().kind == EventKind::Message => item.acknowledge().await.unwrap(),
            _ if item.event().kind != EventKind::Message => item.acknowledge().await.unwrap(),
            // The seventh message is done, but the cursor cannot pass the fifth one, which is not
            // acknowledged. So the crash also repeats the seventh.
            7 => item.done(),
            _ => kept.push(item),
        }
    }
    crash(first, &store);
    drop(kept);

    let second = engine_on(memory, NODE).await;
    let feed = second.feed(all_conversations()).await.unwrap();
    let again = drain(&feed, is_text("10")).await;
    assert_eq!(messages(&again), ["5", "6", "7", "8", "9", "10"]);
}

#[tokio::test]
async fn slow_consumer_delays_no_sender_and_misses_no_event() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    send(&alice, "held").await;
    let feed = engine.feed(all_conversations().max_in_flight(8)).await.unwrap();
    let held = first_message(&feed).await;
    for n in 0..300 {
        timeout(Duration::from_secs(5), send(&alice, &n.to_string()))
            .await
            .expect("the slow consumer delays a sender");
    }
    held.done();
    let seen = messages(&drain(&feed, is_text("299")).await);
    assert_eq!(seen, (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn feed_waits_during_an_outage_of_the_store_and_continues() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let feed = engine.feed(all_conversations()).await.unwrap();
    let item = first_message(&feed).await;
    store.set_unavailable(true);
    let acknowledging = tokio::spawn(item.acknowledge());
    let waiting = timeout(Duration::from_millis(700), feed.next());
    assert!(waiting.await.is_err(), "the feed must neither return an event nor end");
    assert!(!acknowledging.is_finished());
    store.set_unavailable(false);
    acknowledging.await.unwrap().unwrap();
    store.fail_after_commit();
    let sent = alice
        .send_text(direct(&alice), "committed without an answer")
        .await
        .unwrap();
    assert_eq!(
        drain(&feed, |event| message(event).is_some()).await.last().unwrap().seq,
        sent.seq
    );
}

#[tokio::test]
async fn feed_from_now_skips_events_before_its_first_opening() {
    let store = Arc::new(MemoryStore::new());
    let engine = engine_on(store.clone(), NODE).await;
    let alice = new_user(&engine, "alice").await;
    send(&alice, "old").await;
    let feed = engine.feed(all_conversations().from_now()).await.unwrap();
    send(&alice, "new").await;
    // The item is dropped without an acknowledgement, so its event is handed out again.
    assert_eq!(messages(&[next(&feed).await.event().clone()]), ["new"]);
    feed.close().await;
    send(&alice, "while closed").await;
    let feed = engine.feed(all_conversations().from_now()).await.unwrap();
    let seen = drain(&feed, is_text("while closed")).await;
    assert_eq!(messages(&seen), ["new", "while closed"]);

    // An open feed can neither be opened again nor deleted. After its deletion, it is like a feed
    // that was never opened.
    assert!(matches!(
        engine.feed(all_conversations()).await,
        Err(FeedError::AlreadyOpen(_))
    ));
    assert!(matches!(
        engine.delete_feed("index").await,
        Err(FeedError::AlreadyOpen(_))
    ));
    feed.close().await;
    engine.delete_feed("index").await.unwrap();
    let feed = engine.feed(all_conversations()).await.unwrap();
    assert_eq!(
        messages(&drain(&feed, is_text("while closed")).await),
        ["old", "new", "while closed"]
    );
}
