//! Tests of the events that the consumer of a feed receives, over restarts, crashes, outages and
//! several nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::outages::{faulty, quick};
use super::support::*;
use crate::bus::MemoryBus;
use crate::commands::Commands;
use crate::engine::operator::{DeleteAccount, DeletedName, DeletedTexts, OperatorName};
use crate::engine::{Engine, Feed, FeedError, FeedItem, FeedOptions, LeaseLost, LocalSession};
use crate::model::*;
use crate::store::{MemoryStore, Store};
use crate::sync::Mutex;
use crate::testkit::store::FaultyStore;

const NODE: NodeId = NodeId([7; 16]);

fn all() -> FeedOptions {
    let mut options = FeedOptions::all_conversations("index");
    options.lease_ttl = Duration::from_millis(500);
    options.flush_interval = Duration::from_millis(5);
    options
}

async fn next(feed: &Feed) -> FeedItem {
    let next = timeout(Duration::from_secs(20), feed.next());
    next.await.expect("no event arrived").expect("the feed has ended")
}

/// Takes items up to the first for which `is_last` is true, and marks each as done.
async fn drain(feed: &Feed, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let item = next(feed).await;
        let event = item.event().clone();
        item.done();
        events.push(event);
        if events.last().is_some_and(&is_last) {
            return events;
        }
    }
}

fn is_text(wanted: &str) -> impl Fn(&Event) -> bool {
    move |event| message(event).as_deref() == Some(wanted)
}

fn messages(events: &[Event]) -> Vec<String> {
    events.iter().filter_map(message).collect()
}

async fn on(store: Arc<dyn Store>, node: NodeId) -> Engine {
    Engine::builder(store)
        .config(config())
        .node(node)
        .build()
        .await
        .unwrap()
}

/// Ends an engine as a crash does: no further write reaches the store.
fn crash(engine: Engine, store: &FaultyStore) {
    store.set_unavailable(true);
    drop(engine);
}

async fn send(session: &LocalSession, text: &str) -> Appended {
    session.send_text(direct(session), text).await.unwrap()
}

#[tokio::test]
async fn feed_is_gapless_and_hands_out_once_while_many_send() {
    let engine = engine().await;
    let feed = engine.feed(all()).await.unwrap();
    let owner = new_user(&engine, "olga").await;
    let group = group(&owner, "crowd").await;
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
    let first = on(store.clone(), NODE).await;
    let alice = new_user(&first, "alice").await;
    let feed = first.feed(all()).await.unwrap();
    for text in ["one", "two", "three"] {
        send(&alice, text).await;
    }
    drain(&feed, is_text("three")).await;
    first.shutdown().await;
    assert!(feed.next().await.is_none(), "the engine has ended");

    let second = on(store.clone(), NodeId::random()).await;
    let alice = second.session(id(&alice), DeviceId::random()).await.unwrap();
    let feed = second.feed(all()).await.unwrap();
    send(&alice, "four").await;
    assert_eq!(messages(&drain(&feed, is_text("four")).await), ["four"]);
    feed.close().await;

    // Closing released the leases: the feed can be opened again at once, also by another node.
    let third = on(store, NodeId::random()).await;
    let feed = third.feed(all()).await.unwrap();
    send(&alice, "five").await;
    assert_eq!(messages(&drain(&feed, is_text("five")).await), ["five"]);
}

#[tokio::test]
async fn crash_repeats_exactly_the_unacknowledged_events() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let first = on(store.clone(), NODE).await;
    let alice = new_user(&first, "alice").await;
    let feed = first.feed(all()).await.unwrap();
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
            // Events are done out of order: the cursor cannot pass the fifth, which is not
            // acknowledged.
            7 => item.done(),
            _ => kept.push(item),
        }
    }
    crash(first, &store);
    drop(kept);

    let second = on(memory, NODE).await;
    let feed = second.feed(all()).await.unwrap();
    let again = drain(&feed, is_text("10")).await;
    assert_eq!(messages(&again), ["5", "6", "7", "8", "9", "10"]);
}

/// Positions of events, in the order in which they were handed out.
type Positions = Mutex<Vec<(ConversationId, Seq)>>;

/// Record of a consumer on one node, which acknowledges every event: the events that were handed
/// out to it, and the acknowledgements that were stored.
#[derive(Debug, Default)]
struct Consumed {
    handed_out: Positions,
    acknowledged: Positions,
    changed: Notify,
}

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
async fn nodes_share_a_feed_and_one_takes_over_when_the_other_dies() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let bus = Arc::new(MemoryBus::new());
    let node = async |store: Arc<dyn Store>| {
        let builder = Engine::builder(store).config(config()).bus(bus.clone());
        builder.build().await.unwrap()
    };
    let (dying, living) = (node(store.clone()).await, node(memory.clone()).await);
    let names: Vec<_> = (0..24).map(|n| format!("user{n}")).collect();
    let users = join_all(names.iter().map(|name| new_user(&living, name))).await;
    let [by_dying, by_living] = [(); 2].map(|()| Arc::new(Consumed::default()));
    let tasks = [(&dying, &by_dying), (&living, &by_living)].map(async |(engine, consumed)| {
        let feed = engine.feed(all()).await.unwrap();
        drop(tokio::spawn(consume(feed, Arc::clone(consumed))));
    });
    join_all(tasks).await;
    let round = async |n: usize| {
        join_all(users.iter().map(async |user| send(user, &n.to_string()).await)).await;
    };
    let mut rounds = 0;
    let started = Instant::now();
    let both_have_worked = || {
        [&by_dying, &by_living]
            .iter()
            .all(|by| by.acknowledged.lock().len() > 50)
    };
    while !both_have_worked() {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the nodes do not share the feed"
        );
        round(rounds).await;
        rounds += 1;
    }
    crash(dying, &store);
    for _ in 0..5 {
        round(rounds).await;
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
        let mut done: BTreeSet<_> = acknowledged(&by_living).into_iter().collect();
        // The dying node may have recorded one acknowledgement more than its consumer learned of.
        done.extend(positions(&by_dying, |by| &by.handed_out));
        done.len() == total
    };
    while !is_complete() {
        let change = timeout(Duration::from_secs(20), by_living.changed.notified());
        change.await.expect("an event was not processed");
    }
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for position in acknowledged(&by_living).into_iter().chain(acknowledged(&by_dying)) {
        *counts.entry(position).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1), "an event was processed twice");
    let recorded: BTreeSet<_> = acknowledged(&by_dying).into_iter().collect();
    let handed_out = positions(&by_living, |by| &by.handed_out);
    assert!(!handed_out.iter().any(|position| recorded.contains(position)));
}

#[tokio::test]
async fn former_owner_is_fenced_and_drops_events_in_flight() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let builder = Engine::builder(store.clone()).config(quick());
    let (former, present) = (builder.build().await.unwrap(), on(memory, NodeId::random()).await);
    let alice = new_user(&present, "alice").await;
    let old_feed = former.feed(all()).await.unwrap();
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
    let feed = present.feed(all()).await.unwrap();
    let item = next(&feed).await;
    assert_eq!(item.event(), old_item.event(), "the lease expired");
    drop(held);
    assert_eq!(old_item.acknowledge().await, Err(LeaseLost));
    item.acknowledge().await.unwrap();
    assert_eq!(messages(&drain(&feed, is_text("two")).await), ["two"]);
}

#[tokio::test]
async fn feed_of_a_user_shows_the_readable_events_and_leaves_no_trace() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let bot = register(&engine, "robin").await;
    let mut new_group = NewGroup::new(GroupName::parse("crowd").unwrap());
    new_group.history_visible = false;
    let crowd = olga.create_group(new_group).await.unwrap().id;
    let there = ConversationRef::Id(crowd);
    olga.send_text(there.clone(), "before").await.unwrap();
    send(&olga, "private").await;

    let mut options = FeedOptions::user("bot", bot);
    options.lease_ttl = Duration::from_millis(500);
    let feed = engine.feed(options).await.unwrap();
    assert_eq!(engine.router().stats().sessions, 1, "only olga has a session");
    let session = engine.session(bot, DeviceId::random()).await.unwrap();
    join(&session, crowd).await;
    drop(session);
    olga.send_text(there.clone(), "during").await.unwrap();
    let seen = drain(&feed, is_text("during")).await;
    assert!(seen.iter().any(|event| event.kind == EventKind::MemberJoined));
    assert_eq!(messages(&seen), ["during"]);

    let kick = Command::KickMember {
        group: there.clone(),
        user: UserRef::Id(bot),
        ban: false,
    };
    olga.execute(kick).await.unwrap();
    olga.send_text(there, "after").await.unwrap();
    befriend(&olga, &engine.session(bot, DeviceId::random()).await.unwrap()).await;
    olga.send_text(ConversationRef::direct(bot), "between us")
        .await
        .unwrap();
    let mut kinds = BTreeSet::new();
    let mut seen = Vec::new();
    // There is no order between conversations.
    while kinds.len() < 4 {
        let item = next(&feed).await;
        seen.extend(message(item.event()));
        if matches!(
            item.event().kind,
            EventKind::Message | EventKind::FriendRequested | EventKind::MemberKicked | EventKind::RemovedFromGroup
        ) {
            kinds.insert(item.event().kind as u8);
        }
        item.done();
    }
    assert_eq!(seen, ["between us"]);
}

#[tokio::test]
async fn slow_consumer_delays_no_sender_and_misses_nothing() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    send(&alice, "held").await;
    let feed = engine.feed(all().max_in_flight(8)).await.unwrap();
    let held = loop {
        let item = next(&feed).await;
        if message(item.event()).is_some() {
            break item;
        }
        item.done();
    };
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
    let (engine, store, alice) = faulty(quick()).await;
    let feed = engine.feed(all()).await.unwrap();
    let item = loop {
        let item = next(&feed).await;
        if message(item.event()).is_some() {
            break item;
        }
        item.done();
    };
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
    let engine = on(store.clone(), NODE).await;
    let alice = new_user(&engine, "alice").await;
    send(&alice, "old").await;
    let feed = engine.feed(all().from_now()).await.unwrap();
    send(&alice, "new").await;
    assert_eq!(
        messages(&[next(&feed).await.event().clone()]),
        ["new"],
        "not acknowledged"
    );
    feed.close().await;
    send(&alice, "while closed").await;
    let feed = engine.feed(all().from_now()).await.unwrap();
    let seen = drain(&feed, is_text("while closed")).await;
    assert_eq!(messages(&seen), ["new", "while closed"]);

    assert!(matches!(engine.feed(all()).await, Err(FeedError::AlreadyOpen(_))));
    assert!(matches!(
        engine.delete_feed("index").await,
        Err(FeedError::AlreadyOpen(_))
    ));
    feed.close().await;
    engine.delete_feed("index").await.unwrap();
    let feed = engine.feed(all()).await.unwrap();
    assert_eq!(
        messages(&drain(&feed, is_text("while closed")).await),
        ["old", "new", "while closed"]
    );
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
        let mut options = all();
        options.lease_ttl = Duration::from_secs(60);
        let feed = other.feed(options).await.unwrap();
        for text in ["one", "two"] {
            send(&alice, text).await;
            drain(&feed, is_text(text)).await;
        }
    }
}

#[tokio::test]
async fn closing_waits_for_the_consumer_and_records_its_acknowledgements() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    send(&alice, "last").await;
    let feed = engine.feed(all()).await.unwrap();
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
    let feed = engine.feed(all()).await.unwrap();
    send(&alice, "next").await;
    assert_eq!(messages(&drain(&feed, is_text("next")).await), ["next"]);
}

#[tokio::test]
async fn deleting_a_feed_waits_until_no_node_has_it_open() {
    let store = Arc::new(MemoryStore::new());
    let (one, other) = (on(store.clone(), NODE).await, on(store, NodeId::random()).await);
    let alice = new_user(&one, "alice").await;
    send(&alice, "first").await;
    let mut options = all();
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

#[tokio::test]
async fn acknowledgement_that_cannot_be_recorded_ends_with_the_feed() {
    let (engine, store, alice) = faulty(quick()).await;
    send(&alice, "second").await;
    let feed = engine.feed(all()).await.unwrap();
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
    let recorded = timeout(limit, acknowledging).await.expect("the consumer waits forever");
    assert_eq!(recorded.unwrap(), Err(LeaseLost));
    let recorded = timeout(limit, late.acknowledge()).await;
    assert_eq!(recorded.expect("the consumer waits forever"), Err(LeaseLost));
    assert!(feed.next().await.is_none());
    timeout(limit, feed.close()).await.expect("the feed is closed already");
}

#[tokio::test]
async fn acknowledgement_ends_when_the_engine_is_dropped() {
    let (engine, store, alice) = faulty(quick()).await;
    let feed = engine.feed(all()).await.unwrap();
    let item = loop {
        let item = next(&feed).await;
        if message(item.event()).is_some() {
            break item;
        }
        item.done();
    };
    store.set_unavailable(true);
    let acknowledging = tokio::spawn(item.acknowledge());
    drop((engine, alice));
    let recorded = timeout(Duration::from_secs(20), acknowledging).await;
    assert_eq!(recorded.expect("the consumer waits forever").unwrap(), Err(LeaseLost));
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn feed_of_a_user_follows_the_user_out_of_a_group_and_back() {
    let engine = engine().await;
    let olga = new_user(&engine, "olga").await;
    let robin = new_user(&engine, "robin").await;
    let mut wish = NewGroup::new(GroupName::parse("crowd").unwrap());
    wish.history_visible = false;
    let crowd = olga.create_group(wish).await.unwrap().id;
    let there = ConversationRef::Id(crowd);
    let feed = engine.feed(FeedOptions::user("bot", id(&robin))).await.unwrap();
    let mut seen = Vec::new();
    for stay in ["first stay", "second stay"] {
        join(&robin, crowd).await;
        olga.send_text(there.clone(), stay).await.unwrap();
        seen.extend(messages(&drain(&feed, is_text(stay)).await));
        robin.execute(Command::LeaveGroup(there.clone())).await.unwrap();
        for n in 0..10 {
            olga.send_text(there.clone(), &format!("away {n}")).await.unwrap();
        }
    }
    assert_eq!(seen, ["first stay", "second stay"]);
}

#[tokio::test]
async fn feed_shows_edits_recalls_and_the_end_of_groups_and_accounts() {
    let engine = engine().await;
    let (olga, robin) = (new_user(&engine, "olga").await, new_user(&engine, "robin").await);
    let crowd = group(&olga, "crowd").await;
    let there = ConversationRef::Id(crowd);
    join(&robin, crowd).await;
    let feed = engine.feed(all()).await.unwrap();
    let users = FeedOptions::user("robins", id(&robin));
    let robins = engine.feed(users).await.unwrap();
    let sent = robin.send_text(there.clone(), "typo").await.unwrap();
    for feed in [&feed, &robins] {
        drain(feed, is_text("typo")).await;
    }
    let (target, text) = (sent.seq, text("fixed"));
    for content in [DraftContent::Edit { target, text }, DraftContent::Recall { target }] {
        let client_message_id = ClientMessageId::random();
        let draft = Draft {
            client_message_id,
            content,
        };
        robin.send(there.clone(), draft).await.unwrap();
    }
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let how = DeleteAccount {
        texts: DeletedTexts::Keep,
        name: DeletedName::Free,
        ..DeleteAccount::default()
    };
    operator.delete_account(id(&robin), how).await.unwrap();
    olga.execute(Command::DeleteGroup(there)).await.unwrap();
    let rest = drain(&feed, |event| event.kind == EventKind::GroupDeleted).await;
    let mut kinds: Vec<_> = rest.iter().filter(|event| event.conversation == crowd).collect();
    kinds.sort_by_key(|event| event.seq);
    let kinds: Vec<_> = kinds.iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            EventKind::Edit,
            EventKind::Recall,
            EventKind::MemberLeft,
            EventKind::GroupDeleted
        ]
    );
    // The feed of a deleted user stays open and ends where the user's memberships ended.
    let rest = drain(&robins, |event| event.kind == EventKind::MemberLeft).await;
    assert!(rest.iter().all(|event| event.kind != EventKind::GroupDeleted));
    robins.close().await;
}

#[tokio::test]
async fn feed_of_a_disabled_user_waits_until_the_account_is_enabled() {
    let engine = engine().await;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = group(&alice, "rust").await;
    join(&bob, group).await;
    let feed = engine
        .feed(FeedOptions::user("bob", id(&bob)).from_now())
        .await
        .unwrap();
    let everything = engine
        .feed(FeedOptions::all_conversations("all").from_now())
        .await
        .unwrap();
    operator.disable(id(&bob)).await.unwrap();
    alice.send_text(group, "while bob is locked out").await.unwrap();
    // Another feed shows that the message could have arrived.
    drain(&everything, is_text("while bob is locked out")).await;
    let early = timeout(Duration::from_millis(200), feed.next()).await;
    assert!(early.is_err(), "{early:?}");
    operator.enable(id(&bob)).await.unwrap();
    drain(&feed, is_text("while bob is locked out")).await;
}
