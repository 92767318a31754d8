//! Tests of network partitions between nodes of the real program and Redis, MariaDB, or both. The
//! environment variable `PARTITIONS` sets the number of partitions in a test; the test that
//! isolates a node makes a third as many, rounded up.

#![allow(clippy::unwrap_used)] // these are tests

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chat_core::client::{Client, ClientOptions, Credentials, Endpoint, MemoryStore, ServerAddress, discover};
use chat_core::codec::{Answer, RequestKind, body};
use chat_core::model::{
    Appended, Command, ConversationRef, Draft, EventBody, GroupName, MessageText, NewGroup, Note, Outcome, Push,
    ReplyCode, Secret, UserName, UserRef,
};
use chat_core::testkit::{PASSWORD, Peer};
use chat_harness::Cluster;
use chat_harness::proxy::{Proxy, Wire};
use tokio::time::timeout;

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| chat_harness::binary("chat-server", env!("CARGO_BIN_EXE_chat-server")));
/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// Returns the number of rounds: the variable `PARTITIONS`, or `default` if it is not set.
fn rounds(default: usize) -> usize {
    std::env::var("PARTITIONS").map_or(default, |text| text.parse().unwrap())
}

/// Kinds of partitions: name, effect on the data that the node sends, and on the data that it
/// receives. Data that is held back arrives when the partition ends.
fn partition_kinds() -> [(&'static str, Wire, Wire); 7] {
    let (clear, dropping, frozen) = (Wire::clear(), Wire::dropping(), Wire::frozen());
    [
        ("all data is lost", dropping, dropping),
        ("data to the node is held back", clear, frozen),
        ("data from the node is lost", dropping, clear),
        ("one packet in twenty is lost", Wire::lossy(0.05), Wire::lossy(0.05)),
        ("all data is held back", frozen, frozen),
        ("data to the node is lost", clear, dropping),
        ("data from the node is held back", frozen, clear),
    ]
}

fn group() -> ConversationRef {
    ConversationRef::Group(GroupName::parse("room").unwrap())
}

/// Creates a group of these users. The first user owns the group.
async fn create_group(peers: &mut [&mut Peer]) {
    let mut new_group = NewGroup::new(GroupName::parse("room").unwrap());
    new_group.history_visible = true;
    peers[0].run(Command::CreateGroup(new_group)).await.unwrap();
    for peer in &mut peers[1..] {
        let join = Command::JoinGroup {
            group: group(),
            note: Note::default(),
        };
        peer.run(join).await.unwrap();
    }
}

fn draft(text: &str) -> Draft {
    Draft::text(MessageText::new(text).unwrap())
}

/// Sends the draft once. Returns the acknowledgement, or `None` after TRY_AGAIN or BUSY. Any other
/// reply and a late reply fail the test.
async fn send_once(peer: &mut Peer, draft: &Draft) -> Option<Appended> {
    let send = Command::Send {
        conversation: group(),
        draft: draft.clone(),
    };
    let started = Instant::now();
    let answer = timeout(WAIT_TIMEOUT, peer.ask(RequestKind::Command(send)))
        .await
        .unwrap();
    // The documented maximum of 5 s, and a margin for a busy machine.
    assert!(started.elapsed() < 8 * SECOND, "{:?}", started.elapsed());
    match answer.expect("connections stay") {
        Ok(Answer::Outcome(Outcome::Appended(appended))) => Some(appended),
        Ok(other) => panic!("unexpected answer to a message: {other:?}"),
        Err(failure) => {
            assert!(
                matches!(failure.code(), Some(ReplyCode::TryAgain | ReplyCode::Busy)),
                "{failure:?}"
            );
            None
        }
    }
}

/// Sends the draft until it is acknowledged.
async fn send_until_acknowledged(peer: &mut Peer, draft: &Draft) -> Appended {
    let sending = async {
        loop {
            if let Some(appended) = send_once(peer, draft).await {
                return appended;
            }
        }
    };
    timeout(WAIT_TIMEOUT, sending)
        .await
        .expect("the message is acknowledged")
}

/// Waits until messages with all of these texts have arrived, in any order.
async fn receive_texts(peer: &mut Peer, texts: &[String]) {
    let mut missing: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
    let receiving = async {
        while !missing.is_empty() {
            if let Push::Event(event) = peer.next_push().await.unwrap()
                && let Ok(EventBody::Message(message)) = body::decode(event.kind, &event.body)
            {
                missing.remove(message.text.as_str());
            }
        }
    };
    let received = timeout(WAIT_TIMEOUT, receiving).await;
    assert!(received.is_ok(), "{missing:?} did not arrive");
}

/// Sends a message in each direction. Returns the longer of the two times from acknowledgement to
/// delivery.
async fn exchange(first: &mut Peer, second: &mut Peer, text: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    let (mut from, mut to) = (first, second);
    for direction in ["there", "back"] {
        let text = format!("{text} {direction}");
        send_until_acknowledged(from, &draft(&text)).await;
        let started = Instant::now();
        receive_texts(to, &[text]).await;
        slowest = slowest.max(started.elapsed());
        (from, to) = (to, from);
    }
    slowest
}

/// During a partition from Redis, nodes poll the database, which delays messages by a few seconds
/// at most. Soon after the partition, delivery is fast again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_partition_loses_no_message_and_delays_none_beyond_six_seconds() {
    let cluster = Cluster::linked(&PROGRAM, 2, &[]).unwrap();
    let (mut alice, mut bob) = (
        cluster.new_user(0, "alice").await.unwrap(),
        cluster.new_user(1, "bob").await.unwrap(),
    );
    create_group(&mut [&mut alice, &mut bob]).await;
    exchange(&mut alice, &mut bob, "first").await;
    let mut all_delays = Vec::new();
    for round in 0..rounds(3) {
        let (name, up, down) = partition_kinds()[round % partition_kinds().len()];
        // Every second pass over the kinds partitions both nodes.
        let nodes = 1 + round / partition_kinds().len() % 2;
        let links: Vec<&Proxy> = cluster.links[..nodes].iter().map(|links| &links.redis).collect();
        links.iter().for_each(|link| link.set(up, down));
        let (started, mut delays) = (Instant::now(), Vec::new());
        while started.elapsed() < 6 * SECOND {
            let text = format!("{round} {}", delays.len());
            delays.push(exchange(&mut alice, &mut bob, &text).await);
        }
        links.iter().for_each(|link| link.clear());
        let healed = Instant::now();
        while exchange(&mut alice, &mut bob, &format!("{round} healed")).await > SECOND / 4 {
            assert!(healed.elapsed() < WAIT_TIMEOUT, "delivery is still slow");
        }
        let (worst, healed) = (delays.iter().max().copied().unwrap(), healed.elapsed());
        println!(
            "{name}, {nodes} of 2 nodes: {} messages, worst delay {worst:.1?}, fast again after {healed:.1?}",
            2 * delays.len()
        );
        assert!(worst < 6 * SECOND, "{name}: {worst:?}");
        assert!(healed < 8 * SECOND, "{name}: {healed:?}");
        all_delays.extend(delays);
    }
    all_delays.sort_unstable();
    println!(
        "delays of {} exchanges: p50 {:.1?}, p99 {:.1?}",
        all_delays.len(),
        all_delays[all_delays.len() / 2],
        all_delays[all_delays.len() * 99 / 100]
    );
}

/// Without the database a node acknowledges nothing, answers TRY_AGAIN or BUSY in time, keeps its
/// connections and announces that it accepts no sessions. Messages through the other node are
/// delayed by a few seconds at most, and afterwards every retried message is stored once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_without_database_acknowledges_no_message() {
    let cluster = Cluster::linked(&PROGRAM, 2, &[]).unwrap();
    let (mut alice, mut bob) = (
        cluster.new_user(0, "alice").await.unwrap(),
        cluster.new_user(1, "bob").await.unwrap(),
    );
    let mut carol = cluster.new_user(1, "carol").await.unwrap();
    create_group(&mut [&mut alice, &mut bob, &mut carol]).await;
    let addresses: Vec<ServerAddress> = cluster
        .nodes
        .iter()
        .map(|node| node.address().to_string().parse().unwrap())
        .collect();
    let mut options = ClientOptions::new([addresses[1].clone()], Credentials::Stored);
    options.pins = vec![cluster.fingerprint()];
    let store = MemoryStore::new();
    let until_listed_is = async |expected: bool| {
        let started = Instant::now();
        let listed = async { while discover(&options, &store).await.unwrap().contains(&addresses[0]) != expected {} };
        timeout(WAIT_TIMEOUT, listed)
            .await
            .expect("the list of nodes changes as expected");
        started.elapsed()
    };
    until_listed_is(true).await;
    let mut seqs = BTreeSet::new();
    let mut sent_count = 0;
    for round in 0..rounds(3) {
        let (name, up, down) = partition_kinds()[round % partition_kinds().len()];
        // False for a lossy wire: TCP still delivers everything.
        let blocks_all_requests = up.loss == 0.0;
        let link = &cluster.links[0].database;
        link.set(up, down);
        let (alice_text, carol_text) = (format!("{round} by alice"), format!("{round} by carol"));
        let unlisted = async {
            if blocks_all_requests {
                until_listed_is(false).await
            } else {
                Duration::ZERO
            }
        };
        let alice_tries = async {
            let (alice_draft, started) = (draft(&alice_text), Instant::now());
            // A message may still be acknowledged if TCP repaired the loss.
            let outcome = send_once(&mut alice, &alice_draft).await;
            assert!(
                !blocks_all_requests || outcome.is_none(),
                "{name}: acknowledged {outcome:?}"
            );
            (alice_draft, started.elapsed())
        };
        let carol_sends = async {
            let started = Instant::now();
            let appended = send_until_acknowledged(&mut carol, &draft(&carol_text)).await;
            (appended, started.elapsed())
        };
        let (unlisted, (alice_draft, alice_took), (carol_appended, carol_took)) =
            tokio::join!(unlisted, alice_tries, carol_sends);
        link.clear();
        let healed = Instant::now();
        let appended = send_until_acknowledged(&mut alice, &alice_draft).await;
        let acknowledged = healed.elapsed();
        receive_texts(&mut bob, &[alice_text, carol_text]).await;
        // Without a ping, the server would disconnect this silent client after some rounds.
        bob.send(RequestKind::Ping).await.unwrap();
        let listed = until_listed_is(true).await;
        println!(
            "{name}: answer after {alice_took:.1?}, of the other node after {carol_took:.1?}, no longer listed after {unlisted:.1?}; \
             then acknowledged after {acknowledged:.1?}, listed after {listed:.1?}"
        );
        assert!(unlisted < 8 * SECOND, "{name}: {unlisted:?}");
        assert!(carol_took < 8 * SECOND, "{name}: {carol_took:?}");
        assert!(acknowledged < 8 * SECOND, "{name}: {acknowledged:?}");
        assert!(
            seqs.insert(appended.seq) && seqs.insert(carol_appended.seq),
            "each message has a different seq"
        );
        sent_count += 2;
    }
    // The group is the newest conversation, and its last event is a message, so the subquery
    // returns the kind of messages.
    let stored = cluster.database.sql(
        "SELECT COUNT(*), COUNT(DISTINCT sender_id, client_message_id) FROM chat.event WHERE kind = \
         (SELECT kind FROM chat.event ORDER BY conversation_id DESC, seq DESC LIMIT 1)",
    );
    assert_eq!(
        stored.unwrap(),
        format!("{sent_count}\t{sent_count}\n"),
        "each message is stored once"
    );
}

/// Clients that know several nodes log in while one node is isolated: cut off from Redis and
/// MariaDB, but not from clients. Soon after the isolation, that node accepts logins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolated_node_locks_no_user_out() {
    let cluster = Cluster::linked(&PROGRAM, 3, &[]).unwrap();
    drop(cluster.new_user(0, "alice").await.unwrap());
    for round in 0..rounds(1).div_ceil(3) {
        let links = &cluster.links[round % 3];
        links
            .to(chat_harness::Peers::RedisAndDatabase)
            .iter()
            .for_each(|link| link.set_both(Wire::dropping()));
        let started = Instant::now();
        let mut clients = Vec::new();
        for offset in 0..6 {
            let mut servers: Vec<Endpoint> = Vec::new();
            for address in cluster.addresses() {
                servers.push(address.to_string().parse::<ServerAddress>().unwrap().into());
            }
            servers.rotate_left(offset % 3);
            let credentials = Credentials::Password {
                account: UserRef::Name(UserName::parse("alice").unwrap()),
                secret: Secret::new(PASSWORD),
                fresh: false,
            };
            let mut options = ClientOptions::new(servers, credentials);
            options.pins = vec![cluster.fingerprint()];
            clients.push(Client::start(options, MemoryStore::new()).await.unwrap());
        }
        for client in &clients {
            timeout(WAIT_TIMEOUT, client.ready())
                .await
                .expect("the login ends")
                .unwrap();
        }
        let login_time = started.elapsed();
        links
            .to(chat_harness::Peers::RedisAndDatabase)
            .iter()
            .for_each(|link| link.clear());
        let healed = Instant::now();
        let node = cluster.addresses()[round % 3];
        loop {
            // The node may have closed its listeners.
            if let Ok(mut peer) = Peer::connect(node, cluster.fingerprint()).await
                && peer.login("alice").await.is_ok()
            {
                break;
            }
            assert!(healed.elapsed() < WAIT_TIMEOUT, "no login succeeds");
        }
        println!(
            "node isolated: six clients logged in after {login_time:.1?}; the node accepts logins {:.1?} after the isolation",
            healed.elapsed()
        );
        assert!(login_time < 20 * SECOND, "{login_time:?}");
        assert!(healed.elapsed() < 8 * SECOND);
        for client in clients {
            client.close().await;
        }
    }
}
