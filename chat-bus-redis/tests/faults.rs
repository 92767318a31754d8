//! Tests of the backend while Redis fails (crash, freeze, dropped connections, lost data, forged
//! values), of the expiry of a dead node's leases, and of the credentials in the URL.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chat_bus_redis::{Options, RedisBackend, RedisBus};
use chat_core::bus::{BusError, BusMessage, MessageBus, Subscriber, Topic};
use chat_core::cluster::{Discovery, NodeInfo, Presence};
use chat_core::model::{ClusterKey, ConversationId, DeviceId, NodeId, PresenceState, UserId};
use chat_harness::services::Redis;
use tokio::time::timeout;

/// Timeout of a step that has to succeed.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
const TOPIC: Topic = Topic::Conversation(ConversationId(7));

fn open(redis: &Redis) -> RedisBackend {
    open_with(redis, ClusterKey::from_bytes([1; 32]))
}

fn open_with(redis: &Redis, cluster_key: ClusterKey) -> RedisBackend {
    RedisBackend::open(&redis.url(), cluster_key, Options::default()).unwrap()
}

/// Skips messages until `wanted` arrives.
async fn expect_message(subscriber: &mut Box<dyn Subscriber>, wanted: &BusMessage) {
    let waited = async { while subscriber.next().await.expect("the bus is open") != *wanted {} };
    timeout(STEP_TIMEOUT, waited)
        .await
        .unwrap_or_else(|_| panic!("{wanted:?} did not arrive"));
}

/// Publishes until the bus accepts the envelope.
async fn publish_eventually(bus: &RedisBus, text: &'static str) {
    let deadline = Instant::now() + STEP_TIMEOUT;
    while let Err(error) = bus.publish(TOPIC, Bytes::from_static(text.as_bytes())).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

fn envelope(text: &'static str) -> BusMessage {
    BusMessage::Envelope(TOPIC, Bytes::from_static(text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_gets_a_gap_and_recovers_after_every_connection_loss() {
    let mut redis = Redis::start(&[]).unwrap();
    let bus = open(&redis).bus();
    let mut subscriber = bus.connect().await.unwrap();
    subscriber.topics().subscribe(TOPIC).await.unwrap();
    publish_eventually(&bus, "before").await;
    expect_message(&mut subscriber, &envelope("before")).await;

    redis.restart().unwrap();
    expect_message(&mut subscriber, &BusMessage::Gap).await;
    publish_eventually(&bus, "after a crash").await;
    expect_message(&mut subscriber, &envelope("after a crash")).await;

    for _ in 0..5 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).unwrap();
        expect_message(&mut subscriber, &BusMessage::Gap).await;
    }
    publish_eventually(&bus, "after a dropped connection").await;
    expect_message(&mut subscriber, &envelope("after a dropped connection")).await;

    redis.process().signal("STOP").unwrap();
    let started = Instant::now();
    assert!(bus.publish(TOPIC, Bytes::from_static(b"lost")).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // The frozen server causes no gap while it is unreachable. 5 s are longer than the interval and
    // the timeout of a ping together, so the connection has ended by then.
    let silent = timeout(Duration::from_secs(5), subscriber.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    redis.process().signal("CONT").unwrap();
    expect_message(&mut subscriber, &BusMessage::Gap).await;
    publish_eventually(&bus, "after a freeze").await;
    expect_message(&mut subscriber, &envelope("after a freeze")).await;

    bus.close().await;
    let ended = async { while subscriber.next().await.is_some() {} };
    timeout(STEP_TIMEOUT, ended)
        .await
        .expect("closing the bus ends its subscriber");
}

/// The bus and the handle of the topics outlive the subscriber.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_subscriber_ends_its_connection() {
    let redis = Redis::start(&[]).unwrap();
    let bus = open(&redis).bus();
    let subscriber = bus.connect().await.unwrap();
    let topics = subscriber.topics();
    topics.subscribe(TOPIC).await.unwrap();
    drop(subscriber);
    let deadline = Instant::now() + STEP_TIMEOUT;
    while redis
        .command(&["PUBSUB", "NUMSUB", "chat:conversation:7"])
        .unwrap()
        .trim()
        != "chat:conversation:7\n0"
    {
        assert!(Instant::now() < deadline, "the connection is still subscribed");
        tokio::task::yield_now().await;
    }
    assert!(matches!(topics.subscribe(TOPIC).await, Err(BusError::Closed)));
    drop(bus);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_starts_without_redis_and_connects_later() {
    let mut redis = Redis::start(&[]).unwrap();
    redis.kill();
    let backend = open(&redis);
    let (bus, discovery, presence) = (backend.bus(), backend.discovery(), backend.presence());
    let mut subscriber = bus.connect().await.unwrap();
    assert!(subscriber.topics().subscribe(TOPIC).await.is_err());
    assert!(presence.devices(&[UserId(1)]).await.is_err());
    let me = node(1);
    let view = discovery.join(me.clone()).await.unwrap();
    assert_eq!(view.borrow()[..], [node(1)], "the view contains the node itself");

    redis.restart().unwrap();
    expect_message(&mut subscriber, &BusMessage::Gap).await;
    publish_eventually(&bus, "found").await;
    expect_message(&mut subscriber, &envelope("found")).await;
    let other_node = open(&redis).discovery();
    let mut other = other_node.join(node(2)).await.unwrap();
    let both = other.wait_for(|nodes| nodes.contains(&me));
    timeout(STEP_TIMEOUT, both)
        .await
        .expect("the node is announced once Redis is back")
        .unwrap();
}

/// A list of contacts, for example, contains the presence of friends. It must not wait for a
/// timeout each time while Redis is known to be away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_at_once_while_redis_does_not_answer() {
    let redis = Redis::start(&[]).unwrap();
    let presence = open(&redis).presence();
    presence.devices(&[UserId(1)]).await.unwrap();
    let paused = redis.pause(Duration::from_secs(60)).unwrap();
    // The caller stops waiting before the command fails, as the router does.
    let abandoned = timeout(Duration::from_millis(50), presence.devices(&[UserId(1)])).await;
    assert!(abandoned.is_err());
    let first = timeout(STEP_TIMEOUT, presence.devices(&[UserId(1)])).await.unwrap();
    assert!(first.is_err());
    let deadline = Instant::now() + STEP_TIMEOUT;
    let is_quick = async || {
        let started = Instant::now();
        assert!(presence.devices(&[UserId(1)]).await.is_err());
        started.elapsed() < Duration::from_millis(5)
    };
    while !is_quick().await {
        assert!(Instant::now() < deadline, "the calls still wait");
    }
    let started = Instant::now();
    for _ in 0..100 {
        assert!(presence.devices(&[UserId(1)]).await.is_err());
    }
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(500), "100 calls took {waited:?}");
    paused.end().unwrap();
    let deadline = Instant::now() + STEP_TIMEOUT;
    while let Err(error) = presence.devices(&[UserId(1)]).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_values_in_redis_are_ignored_or_reported() {
    let redis = Redis::start(&[]).unwrap();
    let backend = open(&redis);
    let (bus, discovery, presence) = (backend.bus(), backend.discovery(), backend.presence());
    let mut subscriber = bus.connect().await.unwrap();
    subscriber.topics().subscribe(TOPIC).await.unwrap();
    let user = UserId(1);
    let (this_node, device) = (NodeId([1; 16]), DeviceId([2; 16]));
    presence
        .set(this_node, user, device, PresenceState::Online)
        .await
        .unwrap();
    for (field, value) in [
        ("", ""),
        ("zz", "zz"),
        ("00", "11 2"),
        (&"f".repeat(32), "no node"),
        (&"f".repeat(32), &"x".repeat(99_999)),
    ] {
        redis.command(&["HSET", "chat:presence:1", field, value]).unwrap();
    }
    let found = presence.devices(&[user]).await.unwrap();
    assert_eq!(found, [(user, device, this_node, PresenceState::Online)]);
    redis.command(&["SET", "chat:presence:2", "not a hash"]).unwrap();
    assert!(
        presence.devices(&[UserId(2)]).await.is_err(),
        "a value of another type is an error"
    );

    redis
        .command(&["SADD", "chat:nodes", "", "x", &"0".repeat(32), &"a".repeat(32)])
        .unwrap();
    redis
        .command(&["SET", &format!("chat:node:{}", "0".repeat(32)), "nonsense"])
        .unwrap();
    let view = discovery.join(node(1)).await.unwrap();
    assert_eq!(view.borrow().to_vec(), [node(1)]);

    // An envelope without a tag, and an envelope that is too large, are dropped.
    redis.command(&["PUBLISH", "chat:conversation:7", ""]).unwrap();
    redis.command(&["PUBLISH", "chat:conversation:7", "forged"]).unwrap();
    bus.publish(TOPIC, Bytes::from(vec![0; 5 * 1024 * 1024])).await.unwrap();
    publish_eventually(&bus, "after").await;
    assert_eq!(
        timeout(STEP_TIMEOUT, subscriber.next()).await.unwrap(),
        Some(envelope("after"))
    );
}

/// A program with another key stands for an attacker who can write to Redis: it writes everything
/// that a node writes, with tags that are not valid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_a_program_with_another_cluster_key_is_ignored() {
    let redis = Redis::start(&[]).unwrap();
    let (backend, forger) = (open(&redis), open_with(&redis, ClusterKey::random()));
    let bus = backend.bus();
    let mut subscriber = bus.connect().await.unwrap();
    subscriber.topics().subscribe(TOPIC).await.unwrap();
    publish_eventually(&forger.bus(), "forged").await;
    publish_eventually(&bus, "true").await;
    assert_eq!(subscriber.next().await, Some(envelope("true")));

    let (presence, forged_presence) = (backend.presence(), forger.presence());
    let (user, device) = (UserId(1), DeviceId([2; 16]));
    let (live, dead) = (NodeId([1; 16]), NodeId([2; 16]));
    presence.set(live, user, device, PresenceState::Idle).await.unwrap();
    let forged_device = DeviceId([3; 16]);
    let forged = forged_presence.set(dead, user, forged_device, PresenceState::Online);
    forged.await.unwrap();
    let claims = presence.devices(&[user]).await.unwrap();
    assert_eq!(claims, [(user, device, live, PresenceState::Idle)]);
    // An authentic claim counts only while the lease of its node is authentic too. The lease that
    // replaces the true one below has no tag.
    presence
        .set(dead, user, DeviceId([4; 16]), PresenceState::Online)
        .await
        .unwrap();
    redis
        .command(&["SET", &format!("chat:lease:{}", "02".repeat(16)), "1"])
        .unwrap();
    let claims = presence.devices(&[user]).await.unwrap();
    assert_eq!(claims, [(user, device, live, PresenceState::Idle)]);

    let (discovery, forged_discovery) = (backend.discovery(), forger.discovery());
    forged_discovery.join(node(9)).await.unwrap();
    let view = discovery.join(node(1)).await.unwrap();
    assert_eq!(view.borrow()[..], [node(1)]);
}

/// Data that a node wrote is not accepted at another place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_was_moved_to_another_key_is_ignored() {
    let redis = Redis::start(&[]).unwrap();
    let backend = open(&redis);
    let presence = backend.presence();
    let (user, device, this_node) = (UserId(1), DeviceId([2; 16]), NodeId([1; 16]));
    presence
        .set(this_node, user, device, PresenceState::Online)
        .await
        .unwrap();
    redis.command(&["COPY", "chat:presence:1", "chat:presence:2"]).unwrap();
    assert_eq!(presence.devices(&[UserId(2)]).await.unwrap(), []);

    let discovery = backend.discovery();
    let view = discovery.join(node(1)).await.unwrap();
    let key = |byte: &str| format!("chat:node:{}", byte.repeat(16));
    redis.command(&["COPY", &key("01"), &key("09")]).unwrap();
    redis.command(&["SADD", "chat:nodes", &"09".repeat(16)]).unwrap();
    discovery.update(node(1)).await.unwrap();
    assert_eq!(view.borrow()[..], [node(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_of_a_dead_node_expire() {
    let redis = Redis::start(&[]).unwrap();
    let (dying_node, living_node) = (open(&redis), open(&redis));
    let (dying_presence, presence) = (dying_node.presence(), living_node.presence());
    let (dying_discovery, discovery) = (dying_node.discovery(), living_node.discovery());
    let users: Vec<UserId> = (1..=100).map(UserId).collect();
    let device = DeviceId([1; 16]);
    for user in &users {
        dying_presence
            .set(NodeId([9; 16]), *user, device, PresenceState::Online)
            .await
            .unwrap();
    }
    presence
        .set(NodeId([1; 16]), users[0], DeviceId([2; 16]), PresenceState::Idle)
        .await
        .unwrap();
    dying_discovery.join(node(9)).await.unwrap();
    let mut view = discovery.join(node(1)).await.unwrap();
    assert_eq!(
        (
            presence.devices(&users).await.unwrap().len(),
            view.borrow_and_update().len()
        ),
        (101, 2)
    );

    // No task renews the lease any longer, as after `kill -9`.
    let died = Instant::now();
    drop((dying_presence, dying_discovery));
    let expired = async {
        while presence.devices(&users).await.unwrap().len() > 1 {
            tokio::task::yield_now().await;
        }
        view.wait_for(|nodes| nodes.len() == 1).await.unwrap();
    };
    timeout(Duration::from_secs(15), expired)
        .await
        .expect("the claims expire within 15 s");
    assert!(
        died.elapsed() > Duration::from_secs(5),
        "a short delay does not make a node count as dead"
    );
    let left = presence.devices(&users).await.unwrap();
    assert_eq!(
        left,
        [(users[0], DeviceId([2; 16]), NodeId([1; 16]), PresenceState::Idle)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_announced_again_after_redis_lost_its_data() {
    let redis = Redis::start(&[]).unwrap();
    let discovery = open(&redis).discovery();
    discovery.join(node(1)).await.unwrap();
    redis.command(&["FLUSHALL"]).unwrap();
    let other_node = open(&redis).discovery();
    let mut view = other_node.join(node(2)).await.unwrap();
    let seen = view.wait_for(|nodes| nodes.contains(&node(1)));
    timeout(STEP_TIMEOUT, seen)
        .await
        .expect("the node is announced again")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn url_sets_password_user_and_database() {
    let redis = Redis::start(&["--requirepass", "hunter2"]).unwrap();
    let open_as = |login: &str, database: u8| {
        let url = format!("redis://{login}{}/{database}", redis.address());
        RedisBackend::open(&url, ClusterKey::random(), Options::default()).unwrap()
    };
    let can_set = async |backend: RedisBackend| {
        let presence = backend.presence();
        let done = presence
            .set(NodeId([1; 16]), UserId(1), DeviceId([1; 16]), PresenceState::Online)
            .await;
        if let Err(error) = &done {
            assert!(!format!("{error:?}").contains("hunter"));
        }
        done.is_ok()
    };
    assert!(!can_set(open_as("", 0)).await);
    assert!(!can_set(open_as(":hunter3@", 0)).await);
    assert!(can_set(open_as(":hunter2@", 3)).await);
    redis
        .command(&[
            "-a",
            "hunter2",
            "ACL",
            "SETUSER",
            "chat",
            "on",
            ">secret",
            "~chat:*",
            "&chat:*",
            "+@all",
            "-@dangerous",
        ])
        .unwrap();
    assert!(can_set(open_as("chat:secret@", 3)).await);
    let keys = redis.command(&["-a", "hunter2", "-n", "3", "DBSIZE"]).unwrap();
    assert_eq!(keys, "2\n", "a lease and a claim, in the database that the URL names");
    let bus = Arc::new(open_as("chat:secret@", 3).bus());
    let mut subscriber = bus.connect().await.unwrap();
    subscriber.topics().subscribe(TOPIC).await.unwrap();
    publish_eventually(&bus, "allowed").await;
    expect_message(&mut subscriber, &envelope("allowed")).await;
}

fn node(number: u8) -> NodeInfo {
    let mut info = NodeInfo::new(NodeId([number; 16]), 1);
    info.addresses = vec![format!("sc1://127.0.0.1:{number}")];
    info
}
