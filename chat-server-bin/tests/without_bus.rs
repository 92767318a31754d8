//! Tests of nodes on one database that cannot reach each other over the bus, because one node has
//! lost Redis, Redis was not running when the nodes started, or no bus is configured.

#![allow(clippy::unwrap_used)] // these are tests

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chat_core::codec::body;
use chat_core::commands::Commands as _;
use chat_core::model::{
    Command, ConversationId, ConversationRef, Draft, EventBody, MessageText, Note, Push, UserName, UserRef,
};
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use tokio::time::timeout;

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| chat_harness::binary("chat-server", env!("CARGO_BIN_EXE_chat-server")));
/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum delay of a delivery: the documented 3 s, and a margin for a busy machine.
const MAX_DELAY: Duration = Duration::from_millis(3_500);

fn named(name: &str) -> UserRef {
    UserRef::Name(UserName::parse(name).unwrap())
}

/// Connects Alice to the first node and Bob to the second, and makes them friends.
async fn connect_friends(cluster: &Cluster) -> (Peer, Peer) {
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let note = Note::new("").unwrap();
    alice
        .run(Command::RequestFriend {
            user: named("bob"),
            note,
        })
        .await
        .unwrap();
    let user = named("alice");
    bob.run(Command::AnswerFriend { user, accept: true }).await.unwrap();
    (alice, bob)
}

/// Sends this number of messages from Alice to Bob. Returns the time from the acknowledgement of
/// each to its delivery.
async fn measure_delays(alice: &mut Peer, bob: &mut Peer, times: u32) -> Vec<Duration> {
    let mut delays = Vec::new();
    for n in 0..times {
        let text = format!("{n} of {times}");
        let draft = Draft::text(MessageText::new(text.clone()).unwrap());
        let conversation = ConversationRef::Direct(named("bob"));
        alice.run(Command::Send { conversation, draft }).await.unwrap();
        let sent_at = Instant::now();
        let delivery = async {
            loop {
                if let Push::Event(event) = bob.next_push().await.unwrap()
                    && let Ok(EventBody::Message(message)) = body::decode(event.kind, &event.body)
                    && message.text == text
                {
                    return sent_at.elapsed();
                }
            }
        };
        delays.push(timeout(WAIT_TIMEOUT, delivery).await.expect("the message is delivered"));
        // Nodes poll the database each second. This pause varies the phase of the next send.
        tokio::time::sleep(Duration::from_millis(730)).await;
    }
    delays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_bus_poll_the_database_for_messages() {
    let cluster = Cluster::configured(&PROGRAM, 2, &[("CHAT_BUS__URL", "")]).unwrap();
    let (mut alice, mut bob) = connect_friends(&cluster).await;
    let delays = measure_delays(&mut alice, &mut bob, 20).await;
    println!("without a bus: {delays:?}");
    assert!(delays.iter().all(|delay| *delay < MAX_DELAY), "{delays:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_node_without_redis_arrive_before_and_after_its_lease_expires() {
    let cluster = Cluster::linked(&PROGRAM, 2, &[]).unwrap();
    let (mut alice, mut bob) = connect_friends(&cluster).await;
    let before = measure_delays(&mut alice, &mut bob, 3).await;
    cluster.links[0].redis.refuse().unwrap();
    cluster.links[0].redis.reset();
    // In Redis, the node counts as alive until its lease expires, 10 s after the last renewal.
    let after = measure_delays(&mut alice, &mut bob, 40).await;
    println!("with Redis: {before:?}\nwithout Redis, for 30 s and more: {after:?}");
    assert!(after.iter().all(|delay| *delay < MAX_DELAY), "{after:?}");
    cluster.links[0].redis.accept().unwrap();
    // The node needs some seconds to connect to Redis again.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let restored = measure_delays(&mut alice, &mut bob, 5).await;
    println!("with Redis again: {restored:?}");
    assert!(
        restored.iter().all(|delay| *delay < Duration::from_secs(1)),
        "{restored:?}"
    );
}

/// Waits until Bob's session is notified that Alice types. Nodes tell each other of that only over
/// the bus.
async fn until_typing_crosses_nodes(alice: &mut Peer, bob: &mut Peer, conversation: ConversationId) {
    let started = Instant::now();
    loop {
        alice.commands().set_typing(conversation, true).await.unwrap();
        let typing = async { while !matches!(bob.next_push().await.unwrap(), Push::Typing { .. }) {} };
        if timeout(Duration::from_millis(500), typing).await.is_ok() {
            return;
        }
        assert!(
            started.elapsed() < WAIT_TIMEOUT,
            "the nodes do not use Redis after its start"
        );
        alice.commands().set_typing(conversation, false).await.unwrap();
    }
}

/// Number of logins that [`time_of_logins`] measures.
const LOGINS: u32 = 20;

/// Returns the total time of [`LOGINS`] logins of Alice on the first node, one after the other.
async fn time_of_logins(cluster: &Cluster) -> Duration {
    let started = Instant::now();
    for _ in 0..LOGINS {
        let node = cluster.nodes[0].address();
        let mut peer = Peer::connect(node, cluster.fingerprint()).await.unwrap();
        peer.login("alice").await.unwrap();
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_before_redis_serve_and_use_it_once_it_runs() {
    let mut cluster = Cluster::start(&PROGRAM, 0).unwrap();
    cluster.redis.kill();
    for _ in 0..2 {
        // Returns once the node says that it is ready.
        cluster.add_node().unwrap();
    }
    let (mut alice, mut bob) = connect_friends(&cluster).await;
    let without_redis = time_of_logins(&cluster).await;
    let delays = measure_delays(&mut alice, &mut bob, 3).await;
    assert!(delays.iter().all(|delay| *delay < MAX_DELAY), "{delays:?}");

    cluster.redis.restart().unwrap();
    let to_bob = ConversationRef::Direct(named("bob"));
    let conversation = alice.commands().send_text(to_bob, "again").await.unwrap().conversation;
    until_typing_crosses_nodes(&mut alice, &mut bob, conversation).await;
    let with_redis = time_of_logins(&cluster).await;
    println!("{LOGINS} logins without Redis: {without_redis:?}, with Redis: {with_redis:?}");
    // If each login waited a second for Redis, the difference would be 20 s. Half of that leaves
    // room for a machine that was busier at first.
    assert!(
        without_redis < with_redis + Duration::from_secs(10),
        "{without_redis:?} {with_redis:?}"
    );
}
