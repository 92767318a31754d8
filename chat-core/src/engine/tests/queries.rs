//! Tests of the lanes in which the queries of a user wait for each other, and of the rate of reads.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::support::*;
use crate::commands::Commands;
use crate::engine::{Engine, LocalSession};
use crate::model::*;
use crate::rate::Rate;
use crate::store::MemoryStore;
use crate::testkit::store::FaultyStore;

const SECOND: Duration = Duration::from_secs(1);

/// Returns how long it takes to execute a command.
async fn time_of(session: &LocalSession, command: Command) -> Duration {
    let started = Instant::now();
    session.execute(command).await.unwrap();
    started.elapsed()
}

/// Returns a command that looks up this number of names that no account has.
fn get_users(count: usize) -> Command {
    let name = |n| UserRef::Name(UserName::parse(&format!("nobody-{n}")).unwrap());
    Command::GetUsers((0..count).map(name).collect())
}

/// A caller that waits for one query while it does not poll another one makes progress.
#[tokio::test(start_paused = true)]
async fn query_that_its_caller_does_not_poll_delays_no_other() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let acting = engine.acting_as(id(&alice));
    let started = Instant::now();
    let mut queries: FuturesUnordered<_> = (0..5)
        .map(|_| alice.execute(Command::ListConversations(ConversationQuery::default())))
        .collect();
    while let Some(answer) = queries.next().await {
        answer.unwrap();
        // The other queries are not polled during this one.
        alice.execute(list_contacts()).await.unwrap();
    }
    let mut unpolled: Vec<_> = (0..5)
        .map(|_| Box::pin(acting.execute(Command::ListConversations(ConversationQuery::default()))))
        .collect();
    for query in &mut unpolled {
        assert!(poll!(query).is_pending());
    }
    acting.execute(list_contacts()).await.unwrap();
    alice.execute(list_contacts()).await.unwrap();
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
}

/// A user has at most one query in the store at a time, counting the queries of all sessions and
/// those without a session. The queries of other users do not wait for it.
#[tokio::test]
async fn each_user_has_one_query_in_the_store() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let engine = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    let phone = new_user(&engine, "alice").await;
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let acting = engine.acting_as(id(&phone));
    let bob = new_user(&engine, "bob").await;
    let held = store.hold_memberships();
    let listing = tokio::spawn(phone.execute(Command::ListConversations(ConversationQuery::default())));
    tokio::task::yield_now().await;
    let mut waiting = [
        tokio::spawn(phone.execute(Command::ListDevices)),
        tokio::spawn(laptop.execute(Command::ListDevices)),
        tokio::spawn(acting.execute(list_contacts())),
    ];
    for _ in 0..10 {
        bob.execute(Command::ListDevices).await.unwrap();
    }
    for query in &mut waiting {
        assert!(poll!(query).is_pending(), "the list of conversations is being read");
    }
    drop(held);
    listing.await.unwrap().unwrap();
    for query in waiting {
        query.await.unwrap().unwrap();
    }
}

/// A query that is dropped while it reads the store ends its turn when the store has answered. A
/// query that is dropped while it waits for its turn is not executed.
#[tokio::test]
async fn dropped_query_keeps_its_turn_while_the_store_works_on_it() {
    let (_engine, store, alice) = engine_on_faulty_store(config()).await;
    let held = store.hold_memberships();
    let mut listing = Box::pin(alice.execute(Command::ListConversations(ConversationQuery::default())));
    assert!(poll!(&mut listing).is_pending());
    let mut dropped = Box::pin(alice.execute(list_contacts()));
    assert!(poll!(&mut dropped).is_pending());
    tokio::task::yield_now().await;
    drop((listing, dropped));
    let before = store.account_reads();
    let mut devices = tokio::spawn(alice.execute(Command::ListDevices));
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(
            poll!(&mut devices).is_pending(),
            "the list of conversations is being read"
        );
    }
    drop(held);
    devices.await.unwrap().unwrap();
    // The list of conversations read the accounts of the peers, and the last query the devices. The
    // dropped list of contacts would have read accounts too.
    assert_eq!(store.account_reads() - before, 2);
}

/// While the store does not answer, every query is answered within `request_timeout`, and commands
/// that do not need the store are executed.
#[tokio::test(start_paused = true)]
async fn queries_are_answered_in_time_while_the_store_hangs() {
    let config = config();
    let timeout = config.request_timeout;
    let (_engine, store, alice) = engine_on_faulty_store(config).await;
    let conversation = conversation(alice.execute(Command::GetConversation(direct(&alice))).await);
    let held = store.hold();
    let started = Instant::now();
    let queries = join_all((0..5).map(|n| {
        alice.execute(match n {
            0 => Command::ListConversations(ConversationQuery::default()),
            _ => list_contacts(),
        })
    }));
    let mut queries = Box::pin(queries);
    assert!(poll!(&mut queries).is_pending());
    let (conversation, seq) = (conversation.id, conversation.last_seq);
    for command in [
        Command::SetPresence(PresenceState::Idle),
        Command::Acknowledge { conversation, seq },
        Command::MarkRead { conversation, seq },
    ] {
        alice.execute(command).await.unwrap();
    }
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    // Before its turn, this query waits for the marks to be written, for at most a second.
    let after_marks = alice.execute(Command::ListConversations(ConversationQuery::default()));
    let (answers, after_marks) = tokio::join!(queries, after_marks);
    assert!(started.elapsed() <= timeout + SECOND / 10, "{:?}", started.elapsed());
    let codes: Vec<_> = answers.into_iter().map(error_code).collect();
    assert_eq!(codes[0], ReplyCode::TryAgain);
    assert_eq!(codes[1..], [ReplyCode::Busy; 4]);
    assert_eq!(error_code(after_marks), ReplyCode::Busy);
    drop(held);
    // The hanging reads have timed out, so the lane is free.
    assert!(time_of(&alice, list_contacts()).await < SECOND);
}

/// A query with several slow reads ends its turn after `request_timeout`.
#[tokio::test(start_paused = true)]
async fn turn_of_a_query_with_several_slow_reads_ends_in_time() {
    let config = config();
    let timeout = config.request_timeout;
    let (_engine, store, alice) = engine_on_faulty_store(config).await;
    let memberships_held = store.hold_memberships();
    let listing = tokio::spawn(alice.execute(Command::ListConversations(ConversationQuery::default())));
    tokio::time::sleep(SECOND).await;
    let devices = tokio::spawn(alice.execute(Command::ListDevices));
    tokio::time::sleep(timeout - 2 * SECOND).await;
    let _held = store.hold();
    // The list reads the accounts now.
    drop(memberships_held);
    assert_eq!(error_code(listing.await.unwrap()), ReplyCode::TryAgain);
    // The query of the devices was reading the store at its deadline. A query that still waited for
    // its turn would be answered with `Busy`.
    assert_eq!(error_code(devices.await.unwrap()), ReplyCode::TryAgain);
}

/// Commands that read a few rows do not wait for the queries of their user.
#[tokio::test(start_paused = true)]
async fn marks_and_typing_do_not_wait_for_queries() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let laptop = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    let conversation = conversation(alice.execute(Command::GetConversation(direct(&alice))).await).id;
    let _held = store.hold_memberships();
    let mut listing = Box::pin(alice.execute(Command::ListConversations(ConversationQuery::default())));
    assert!(poll!(&mut listing).is_pending());
    let started = Instant::now();
    let seq = Seq(1);
    laptop
        .execute(Command::Acknowledge { conversation, seq })
        .await
        .unwrap();
    laptop.execute(Command::MarkRead { conversation, seq }).await.unwrap();
    let stopped = false;
    laptop.execute(Command::Typing { conversation, stopped }).await.unwrap();
    assert!(started.elapsed() < SECOND / 10, "{:?}", started.elapsed());
}

/// The rate applies to all sessions of a user together, and counts the rows.
#[tokio::test(start_paused = true)]
async fn read_rate_delays_the_heavy_reader_only() {
    let mut config = config();
    config.read_rate = Rate::new(1000, SECOND).with_burst(2000);
    let engine = builder().config(config).build().await.unwrap();
    let phone = new_user(&engine, "alice").await;
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let acting = engine.acting_as(id(&phone));
    let bob = new_user(&engine, "bob").await;
    // A query of 200 names costs 5 + 200 x 6 rows, so two such queries cost more than the burst.
    assert!(time_of(&phone, get_users(200)).await < SECOND / 100);
    assert!(time_of(&phone, get_users(200)).await < SECOND / 100);
    let third = time_of(&laptop, Command::ListDevices).await;
    assert!((4 * SECOND / 10..5 * SECOND / 10).contains(&third), "{third:?}");
    acting.execute(get_users(200)).await.unwrap();
    let started = Instant::now();
    acting.execute(list_contacts()).await.unwrap();
    let last = started.elapsed();
    assert!((SECOND..13 * SECOND / 10).contains(&last), "{last:?}");
    assert!(time_of(&bob, get_users(200)).await < SECOND / 100);
    // Beyond the rate, a typing notice is dropped: that the conversation does not exist remains
    // unnoticed.
    let conversation = ConversationId(0);
    phone.execute(get_users(200)).await.unwrap();
    let stopped = false;
    phone.execute(Command::Typing { conversation, stopped }).await.unwrap();
}

/// A login reads all conversations of the user, which delays the next logins of this user, and not
/// those of other users.
#[tokio::test(start_paused = true)]
async fn logins_cost_the_rows_that_they_read() {
    let mut config = config();
    config.read_rate = Rate::new(10, SECOND).with_burst(40);
    let engine = builder().config(config).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    for name in ["one", "two", "three", "four"] {
        create_group(&alice, name).await;
    }
    tokio::time::sleep(20 * SECOND).await;
    // The inbox and four groups cost 5 + 5 x 4 rows, so two logins cost 50.
    let login = async |user| {
        let started = Instant::now();
        let session = engine.session(user, DeviceId::random()).await.unwrap();
        drop(session);
        started.elapsed().as_secs()
    };
    assert_eq!([login(id(&alice)).await, login(id(&alice)).await], [0, 0]);
    assert_eq!(login(id(&alice)).await, 1);
    assert_eq!(login(id(&bob)).await, 0);
}

/// Several sessions of a thief that read all the time do not keep out the owner, who logs in to
/// revoke them.
#[tokio::test(start_paused = true)]
async fn greedy_sessions_do_not_keep_the_owner_from_logging_in() {
    let mut config = config();
    config.read_rate = Rate::new(100, SECOND).with_burst(1000);
    let engine = builder().config(config).build().await.unwrap();
    let alice = id(&new_user(&engine, "alice").await);
    let mut greedy = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let thief = engine.session(alice, DeviceId::random()).await.unwrap();
        greedy.spawn(async move {
            loop {
                let _ = thief.execute(get_users(200)).await;
            }
        });
    }
    tokio::time::sleep(10 * SECOND).await;
    for _ in 0..5 {
        let started = Instant::now();
        drop(engine.session(alice, DeviceId::random()).await.unwrap());
        assert!(started.elapsed() < 3 * SECOND, "{:?}", started.elapsed());
    }
}

/// A list of contacts costs a row for each contact, in addition to the 5 rows of every query.
#[tokio::test(start_paused = true)]
async fn list_of_contacts_costs_its_rows() {
    let mut config = config();
    config.read_rate = Rate::new(1, SECOND).with_burst(12);
    let engine = builder().config(config).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    tokio::time::sleep(20 * SECOND).await;
    // Without contacts, two lists cost 10 rows.
    for delay in [0, 0] {
        assert_eq!(time_of(&alice, list_contacts()).await.as_secs(), delay);
    }
    befriend(&alice, &bob).await;
    // After 20 s, the burst of 12 rows is available again. With one contact, a list costs 6 rows,
    // so two lists use the burst up, and the third waits for a second.
    tokio::time::sleep(20 * SECOND).await;
    for delay in [0, 0, 1] {
        let took = time_of(&alice, list_contacts()).await;
        assert_eq!(took.as_millis().div_ceil(1000), delay, "{took:?}");
    }
}

/// A session that has 64 queries in flight all the time does not lock out another device.
#[tokio::test(start_paused = true)]
async fn greedy_session_does_not_lock_out_the_other_devices() {
    let mut config = config();
    // Each of the queries costs 5 + 200 x 6 rows, more than the whole burst.
    config.read_rate = Rate::new(100, SECOND).with_burst(1000);
    let engine = builder().config(config).build().await.unwrap();
    let thief = Arc::new(new_user(&engine, "alice").await);
    let owner = engine.session(id(&thief), DeviceId::random()).await.unwrap();
    let mut greedy = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let thief = Arc::clone(&thief);
        greedy.spawn(async move {
            loop {
                let _ = thief.execute(get_users(200)).await;
            }
        });
    }
    tokio::time::sleep(10 * SECOND).await;
    for _ in 0..10 {
        let took = time_of(&owner, Command::ListDevices).await;
        assert!(took < 5 * SECOND, "{took:?}");
    }
}

/// The default rate does not slow down a client that starts with 500 conversations.
#[tokio::test(start_paused = true)]
async fn default_rate_does_not_delay_the_start_of_a_client() {
    const CONVERSATIONS: usize = 500;
    let mut config = config();
    config.default_direct_policy = DirectPolicy::Everyone;
    let engine = builder().config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let phone = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    for n in 0..CONVERSATIONS {
        let peer = register(&engine, &format!("peer-{n}")).await;
        let peer = engine.acting_as(peer);
        peer.send_text(direct(&alice), "hello").await.unwrap();
    }
    let started = Instant::now();
    phone.execute(list_contacts()).await.unwrap();
    let conversations = phone.conversations().await.unwrap();
    assert!(conversations.len() >= CONVERSATIONS);
    let opened = conversations.iter().map(async |info| {
        let (conversation, seq) = (info.id, info.last_seq);
        history(&phone, conversation.into()).await;
        phone.execute(Command::Acknowledge { conversation, seq }).await.unwrap();
    });
    join_all(opened).await;
    phone.conversations().await.unwrap();
    assert!(started.elapsed() < SECOND / 100, "{:?}", started.elapsed());
}
