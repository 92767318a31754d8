//! Clusters as users see them: messages, logins, discovery, and the end of nodes and sessions.

use std::io::{BufRead, BufReader};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use chat_bus_redis::RedisBackend;
use chat_core::bus::{BusMessage, MessageBus, Topic};
use chat_core::client::{ClientOptions, Credentials, MemoryStore, ServerAddress, discover};
use chat_core::codec::RequestKind;
use chat_core::commands::Commands;
use chat_core::model::{Command, ConversationRef, Draft, GroupName, MessageText, Note, Push, UserId};
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use tokio::time::timeout;

use super::support::{PROGRAM, WAIT_TIMEOUT, create_group, join, named, receive_text};

async fn befriend(one: &mut Peer, one_name: &str, other: &mut Peer, other_name: &str) {
    let asked = one.commands().request_friend(named(other_name), Note::default()).await;
    asked.unwrap();
    other.commands().answer_friend(named(one_name), true).await.unwrap();
}

fn say(conversation: ConversationRef, text: &str) -> Command {
    Command::Send {
        conversation,
        draft: Draft::text(MessageText::new(text).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_different_nodes_chat_as_on_one() {
    let cluster = Cluster::start(&PROGRAM, 3).unwrap();
    let mut alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let mut carol = cluster.new_user(2, "卡罗尔").await.unwrap();
    befriend(&mut alice, "alice", &mut bob, "bob").await;
    create_group(&mut alice, "Rust 学习").await;
    let group = || ConversationRef::Group(GroupName::parse("rust 学习").unwrap());
    for peer in [&mut bob, &mut carol] {
        join(peer, group()).await;
    }
    // A first message creates each conversation; a session that learns of it late reads it from the
    // history.
    alice
        .run(say(ConversationRef::Direct(named("bob")), "opening"))
        .await
        .unwrap();
    bob.run(say(ConversationRef::Direct(named("alice")), "opening too"))
        .await
        .unwrap();
    let _ = timeout(Duration::from_millis(500), receive_text(&mut bob, "never said")).await;

    let mut monitor = Process::new("redis-cli")
        .args(["-p", &cluster.redis.address().port().to_string(), "monitor"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut seen = BufReader::new(monitor.stdout.take().unwrap()).lines();
    assert_eq!(seen.next().unwrap().unwrap(), "OK");

    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let text = format!("to bob {n} 你好 𠮷😀");
        let started = Instant::now();
        alice
            .run(say(ConversationRef::Direct(named("bob")), &text))
            .await
            .unwrap();
        receive_text(&mut bob, &text).await;
        slowest = slowest.max(started.elapsed());
        let text = format!("to alice {n}");
        let started = Instant::now();
        bob.run(say(ConversationRef::Direct(named("alice")), &text))
            .await
            .unwrap();
        receive_text(&mut alice, &text).await;
        slowest = slowest.max(started.elapsed());
    }
    println!("slowest message from one node to another: {slowest:?}");
    assert!(slowest < Duration::from_millis(1000), "{slowest:?}");

    for n in 0..3 {
        let mut people = [&mut alice, &mut bob, &mut carol];
        let text = format!("group {n}");
        let appended = people[n].commands().send_text(group(), &text).await.unwrap();
        for (_, listener) in people.iter_mut().enumerate().filter(|(listener, _)| *listener != n) {
            assert_eq!(receive_text(listener, &text).await, appended.seq);
        }
    }
    cluster.redis.command(&["PING"]).unwrap();
    let published: Vec<String> = seen
        .map_while(Result::ok)
        .take_while(|line| !line.contains("\"PING\""))
        .filter(|line| line.contains("\"PUBLISH\"") && line.contains("conversation:"))
        .collect();
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert!(!published.is_empty());
    assert!(
        published.len() <= 60,
        "once per message, not per member: {}",
        published.len()
    );
    assert!(
        !published
            .iter()
            .any(|line| line.contains("group 1") || line.contains("to alice")),
        "no bodies on the bus"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_discovers_the_least_loaded_node() {
    let mut cluster = Cluster::start(&PROGRAM, 3).unwrap();
    let addresses: Vec<ServerAddress> = cluster
        .addresses()
        .iter()
        .map(|address| address.to_string().parse().unwrap())
        .collect();
    let mut peers = Vec::new();
    for (node, sessions) in [(0, 3), (1, 1)] {
        for n in 0..sessions {
            peers.push(cluster.new_user(node, &format!("person-{node}-{n}")).await.unwrap());
        }
    }
    let mut options = ClientOptions::new([addresses[0].clone()], Credentials::Stored);
    options.pins = vec![cluster.fingerprint()];
    let store = MemoryStore::new();
    let settles = async |expected: &[ServerAddress]| {
        let found = async { while discover(&options, &store).await.unwrap() != expected {} };
        timeout(WAIT_TIMEOUT, found)
            .await
            .unwrap_or_else(|_| panic!("{expected:?} is never found"));
    };
    settles(&[addresses[2].clone(), addresses[1].clone(), addresses[0].clone()]).await;
    // A node that drains leaves the list; a node that dies leaves it when its lease expires.
    cluster.nodes[2].signal("TERM").unwrap();
    settles(&[addresses[1].clone(), addresses[0].clone()]).await;
    cluster.nodes[1].kill();
    settles(&[addresses[0].clone()]).await;
    // A new node joins without a restart of the others.
    cluster.add_node().unwrap();
    let joined = cluster.nodes[3].address().to_string().parse().unwrap();
    settles(&[joined, addresses[0].clone()]).await;
}

/// Returns `true` if this session may still write. Nodes decide this in the transaction,
/// independent of the bus.
async fn lives(peer: &mut Peer, name: &str) -> bool {
    let note = say(ConversationRef::Direct(named(name)), "still here");
    matches!(peer.ask(RequestKind::Command(note)).await, Ok(Ok(_)))
}

/// Simultaneous logins of one user on two nodes, where a user may have one session: exactly one
/// wins. `LOGINS` sets the number of rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_logins_on_two_nodes_have_one_winner() {
    let rounds: u32 = std::env::var("LOGINS").map_or(40, |text| text.parse().unwrap());
    let settings = [("CHAT_ACCOUNTS__SESSIONS", "reject")];
    let cluster = Cluster::configured(&PROGRAM, 2, &settings).unwrap();
    let connect = async |node: usize| {
        Peer::connect(cluster.nodes[node].address(), cluster.fingerprint())
            .await
            .unwrap()
    };
    connect(0).await.register("alice").await.unwrap();
    let (mut refused, mut replaced) = (0, 0);
    for round in 0..rounds {
        let (mut one, mut other) = tokio::join!(connect(0), connect(1));
        let results = tokio::join!(one.login("alice"), other.login("alice"));
        let mut winner = match results {
            (Ok(_), Err(_)) => {
                refused += 1;
                one
            }
            (Err(_), Ok(_)) => {
                refused += 1;
                other
            }
            (Ok(_), Ok(_)) => {
                // Both logins succeeded, and one session has replaced the other, which may no
                // longer write.
                replaced += 1;
                match (lives(&mut one, "alice").await, lives(&mut other, "alice").await) {
                    (true, false) => one,
                    (false, true) => other,
                    both => panic!("round {round}: {both:?}"),
                }
            }
            (Err(one), Err(other)) => panic!("round {round}: both logins failed: {one}, {other}"),
        };
        assert!(lives(&mut winner, "alice").await, "round {round}");
        // The close may arrive before the reply.
        if winner.run(Command::Logout).await.is_ok() {
            while !matches!(winner.push().await, Err(_) | Ok(Push::Closed(_))) {}
        }
    }
    println!(
        "{rounds} rounds, one winner each: {refused} times the other was refused, {replaced} times taken over from"
    );
}

/// An attacker who can write to Redis can forge doorbells. They deliver nothing, duplicate nothing
/// and disturb no session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_doorbells_deliver_nothing() {
    let cluster = Cluster::start(&PROGRAM, 2).unwrap();
    let (mut alice, mut bob) = (
        cluster.new_user(0, "alice").await.unwrap(),
        cluster.new_user(1, "bob").await.unwrap(),
    );
    befriend(&mut alice, "alice", &mut bob, "bob").await;
    let to_bob = || ConversationRef::Direct(named("bob"));
    let first = alice.commands().send_text(to_bob(), "opening").await.unwrap();
    let redis = RedisBackend::open(&cluster.redis.url(), chat_bus_redis::Options::default()).unwrap();
    let bus = redis.bus();
    let mut ear = bus.connect().await.unwrap();
    let conversation = Topic::Conversation(first.conversation);
    let topics = [
        conversation,
        Topic::User(UserId(1)),
        Topic::User(UserId(2)),
        Topic::Control,
    ];
    for topic in topics {
        ear.topics().subscribe(topic).await.unwrap();
    }
    // Record real doorbells.
    let mut received = Vec::new();
    for n in 0..5 {
        alice.run(say(to_bob(), &format!("real {n}"))).await.unwrap();
    }
    while received.len() < 8 {
        if let Some(BusMessage::Envelope(_, envelope)) = timeout(WAIT_TIMEOUT, ear.next()).await.unwrap() {
            received.push(envelope);
        }
    }
    // Replay them on every channel, truncated, with flipped bits, and as random bytes.
    for envelope in &received {
        for topic in topics {
            let mut flipped = envelope.to_vec();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 0x55;
            for forged in [
                envelope.clone(),
                envelope.slice(..middle),
                flipped.into(),
                vec![0xff; 300].into(),
            ] {
                for _ in 0..10 {
                    bus.publish(topic, forged.clone()).await.unwrap();
                }
            }
        }
    }
    alice.run(say(to_bob(), "last")).await.unwrap();
    let mut seqs = Vec::new();
    let waited = async {
        loop {
            match bob.push().await.unwrap() {
                Push::Event(event) if event.conversation == first.conversation => {
                    seqs.push(event.seq.0);
                    if event.seq.0 == first.seq.0 + 6 {
                        break;
                    }
                }
                Push::Closed(code) => panic!("bob was thrown out: {code:?}"),
                _ => {}
            }
        }
    };
    timeout(WAIT_TIMEOUT, waited).await.expect("the last event arrives");
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "each once, in order: {seqs:?}"
    );
    assert!(lives(&mut alice, "alice").await && lives(&mut bob, "bob").await);
    let stored = cluster.database.sql(&format!(
        "SELECT COUNT(*) FROM chat.event WHERE conversation_id = {}",
        first.conversation.0
    ));
    assert_eq!(stored.unwrap(), "7\n", "the forged doorbells stored nothing");
}

/// Users of a killed node log in on another one within seconds, even if a user may have one session
/// only. The end of a node disturbs its own users only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_node_frees_its_own_users_only() {
    let settings = [("CHAT_ACCOUNTS__SESSIONS", "reject")];
    let mut cluster = Cluster::configured(&PROGRAM, 3, &settings).unwrap();
    let alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let carol = cluster.new_user(2, "carol").await.unwrap();
    let (node, key) = (cluster.nodes[1].address(), cluster.fingerprint());
    let gets_in = async |name: &str| {
        let started = Instant::now();
        loop {
            let mut peer = Peer::connect(node, key).await.unwrap();
            match peer.login(name).await {
                Ok(_) => break started.elapsed(),
                Err(error) => assert!(
                    started.elapsed() < Duration::from_secs(15),
                    "{name} is locked out: {error}"
                ),
            }
        }
    };
    cluster.nodes[0].kill();
    let took = gets_in("alice").await;
    println!("in again after a kill: {took:?}");
    drop(alice);
    cluster.nodes[2].signal("INT").unwrap();
    tokio::task::block_in_place(|| cluster.nodes[2].wait()).unwrap();
    let took = gets_in("carol").await;
    println!("in again after Ctrl-C: {took:?}");
    drop(carol);
    assert!(
        lives(&mut bob, "bob").await,
        "the end of another node does not disturb Bob"
    );
}
