//! Tests of what users observe of a cluster: delivery between nodes, the choice of a node,
//! simultaneous logins, forged messages on the bus, and the end of nodes.

use std::io::{BufRead, BufReader};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use chat_bus_redis::RedisBackend;
use chat_core::bus::{BusMessage, MessageBus, Topic};
use chat_core::client::{ClientOptions, Credentials, MemoryStore, ServerAddress, discover};
use chat_core::codec::RequestKind;
use chat_core::commands::Commands;
use chat_core::model::{Command, ConversationRef, Draft, GroupName, MessageText, Note, Push, UserId};
use chat_core::store::Store;
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use chat_store_mysql::MysqlStore;
use tokio::time::timeout;

use super::support::{PROGRAM, WAIT_TIMEOUT, create_group, join, named, receive_text};

async fn befriend(first: &mut Peer, first_name: &str, second: &mut Peer, second_name: &str) {
    let requested = first
        .commands()
        .request_friend(named(second_name), Note::default())
        .await;
    requested.unwrap();
    second.commands().answer_friend(named(first_name), true).await.unwrap();
}

fn send_command(conversation: ConversationRef, text: &str) -> Command {
    Command::Send {
        conversation,
        draft: Draft::text(MessageText::new(text).unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_on_different_nodes_exchange_messages() {
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
    // The first message opens the conversation. A session that learns of the conversation late may
    // get a `Behind` push instead of that message, so the measurement starts with later messages.
    alice
        .run(send_command(ConversationRef::Direct(named("bob")), "opening"))
        .await
        .unwrap();
    bob.run(send_command(ConversationRef::Direct(named("alice")), "opening too"))
        .await
        .unwrap();
    // Discards the pushes that Bob receives within 500 ms.
    let _ = timeout(Duration::from_millis(500), receive_text(&mut bob, "never sent")).await;

    let mut monitor = Process::new("redis-cli")
        .args(["-p", &cluster.redis.address().port().to_string(), "monitor"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut monitor_lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    assert_eq!(monitor_lines.next().unwrap().unwrap(), "OK");

    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let text = format!("to bob {n} 你好 𠮷😀");
        let started = Instant::now();
        alice
            .run(send_command(ConversationRef::Direct(named("bob")), &text))
            .await
            .unwrap();
        receive_text(&mut bob, &text).await;
        slowest = slowest.max(started.elapsed());
        let text = format!("to alice {n}");
        let started = Instant::now();
        bob.run(send_command(ConversationRef::Direct(named("alice")), &text))
            .await
            .unwrap();
        receive_text(&mut alice, &text).await;
        slowest = slowest.max(started.elapsed());
    }
    println!("slowest message from one node to another: {slowest:?}");
    assert!(slowest < Duration::from_millis(1000), "{slowest:?}");

    for n in 0..3 {
        let mut peers = [&mut alice, &mut bob, &mut carol];
        let text = format!("group {n}");
        let appended = peers[n].commands().send_text(group(), &text).await.unwrap();
        for (_, receiver) in peers.iter_mut().enumerate().filter(|(index, _)| *index != n) {
            assert_eq!(receive_text(receiver, &text).await, appended.seq);
        }
    }
    // The monitor prints this command too, which marks the end of the measurement.
    cluster.redis.command(&["PING"]).unwrap();
    let published: Vec<String> = monitor_lines
        .map_while(Result::ok)
        .take_while(|line| !line.contains("\"PING\""))
        .filter(|line| line.contains("\"PUBLISH\"") && line.contains("conversation:"))
        .collect();
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert!(!published.is_empty());
    // 43 messages were sent since the monitor started. One publication for each member would be 89;
    // the limit lies between the two.
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
    let until_listed = async |expected: &[ServerAddress]| {
        let listed = async { while discover(&options, &store).await.unwrap() != expected {} };
        timeout(WAIT_TIMEOUT, listed)
            .await
            .unwrap_or_else(|_| panic!("{expected:?} was not found"));
    };
    until_listed(&[addresses[2].clone(), addresses[1].clone(), addresses[0].clone()]).await;
    // A node that drains leaves the list; a killed node leaves it when its lease in Redis expires.
    cluster.nodes[2].signal("TERM").unwrap();
    until_listed(&[addresses[1].clone(), addresses[0].clone()]).await;
    cluster.nodes[1].kill();
    until_listed(&[addresses[0].clone()]).await;
    // A new node joins without a restart of the others.
    cluster.add_node().unwrap();
    let joined = cluster.nodes[3].address().to_string().parse().unwrap();
    until_listed(&[joined, addresses[0].clone()]).await;
}

/// Returns `true` if this session of the user `name` may still write: sends a message to the user's
/// own notes. Whether a session may write is decided in the transaction, independently of the bus.
async fn may_write(peer: &mut Peer, name: &str) -> bool {
    let note = send_command(ConversationRef::Direct(named(name)), "still here");
    matches!(peer.ask(RequestKind::Command(note)).await, Ok(Ok(_)))
}

/// If a user who may have one session logs in on two nodes at the same time, exactly one session
/// remains. The environment variable `LOGINS` sets the number of rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_logins_on_two_nodes_have_one_winner() {
    let rounds: u32 = std::env::var("LOGINS").map_or(40, |text| text.parse().unwrap());
    let settings = [("CHAT_ACCOUNTS__SESSION_POLICY", "reject")];
    let cluster = Cluster::configured(&PROGRAM, 2, &settings).unwrap();
    let connect = async |node: usize| {
        Peer::connect(cluster.nodes[node].address(), cluster.fingerprint())
            .await
            .unwrap()
    };
    connect(0).await.register("alice").await.unwrap();
    let (mut refused, mut replaced) = (0, 0);
    for round in 0..rounds {
        let (mut first, mut second) = tokio::join!(connect(0), connect(1));
        let results = tokio::join!(first.login("alice"), second.login("alice"));
        let mut winner = match results {
            (Ok(_), Err(_)) => {
                refused += 1;
                first
            }
            (Err(_), Ok(_)) => {
                refused += 1;
                second
            }
            (Ok(_), Ok(_)) => {
                // Neither node knew of the other session in time to refuse the login. The login
                // that was committed last has replaced the other session, which may no longer
                // write.
                replaced += 1;
                match (
                    may_write(&mut first, "alice").await,
                    may_write(&mut second, "alice").await,
                ) {
                    (true, false) => first,
                    (false, true) => second,
                    both => panic!("round {round}: {both:?}"),
                }
            }
            (Err(first), Err(second)) => panic!("round {round}: both logins failed: {first}, {second}"),
        };
        assert!(may_write(&mut winner, "alice").await, "round {round}");
        // The server may close the session before the reply to the logout arrives.
        if winner.run(Command::Logout).await.is_ok() {
            while !matches!(winner.next_push().await, Err(_) | Ok(Push::Closed(_))) {}
        }
    }
    println!("{rounds} rounds, one winner each: {refused} logins were refused, {replaced} sessions were replaced");
}

/// An attacker who has the cluster key, from a stolen backup for example, and can write to Redis
/// can forge doorbells (messages that say that a log has grown). Forged doorbells deliver nothing,
/// duplicate nothing and disturb no session.
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
    let database = cluster.database.url("chat");
    let mysql = MysqlStore::open(&database, chat_store_mysql::Options::default())
        .await
        .unwrap();
    let cluster_key = mysql.cluster_key().await.unwrap();
    let redis = RedisBackend::open(&cluster.redis.url(), cluster_key, chat_bus_redis::Options::default()).unwrap();
    let bus = redis.bus();
    let mut subscriber = bus.connect().await.unwrap();
    let conversation = Topic::Conversation(first.conversation);
    let topics = [
        conversation,
        Topic::User(UserId(1)),
        Topic::User(UserId(2)),
        Topic::Control,
    ];
    for topic in topics {
        subscriber.topics().subscribe(topic).await.unwrap();
    }
    // Records eight envelopes that nodes really publish. Some are doorbells of these five messages.
    // Others, such as heartbeats, do not depend on messages.
    let mut received = Vec::new();
    for n in 0..5 {
        alice.run(send_command(to_bob(), &format!("real {n}"))).await.unwrap();
    }
    while received.len() < 8 {
        if let Some(BusMessage::Envelope(_, envelope)) = timeout(WAIT_TIMEOUT, subscriber.next()).await.unwrap() {
            received.push(envelope);
        }
    }
    // Publishes each recorded envelope on every topic: unchanged, truncated, and with flipped bits.
    // Also publishes bytes that are no envelope.
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
    alice.run(send_command(to_bob(), "last")).await.unwrap();
    let mut seqs = Vec::new();
    let receiving = async {
        loop {
            match bob.next_push().await.unwrap() {
                Push::Event(event) if event.conversation == first.conversation => {
                    seqs.push(event.seq.0);
                    if event.seq.0 == first.seq.0 + 6 {
                        break;
                    }
                }
                Push::Closed(code) => panic!("the session of Bob was closed: {code:?}"),
                _ => {}
            }
        }
    };
    timeout(WAIT_TIMEOUT, receiving).await.expect("the last event arrives");
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no event arrives twice or out of order: {seqs:?}"
    );
    assert!(may_write(&mut alice, "alice").await && may_write(&mut bob, "bob").await);
    let stored = cluster.database.sql(&format!(
        "SELECT COUNT(*) FROM chat.event WHERE conversation_id = {}",
        first.conversation.0
    ));
    assert_eq!(stored.unwrap(), "7\n", "the forged doorbells stored nothing");
}

/// Users of a killed or stopped node can log in on another node within 15 s, even if a user may
/// have only one session. The sessions on other nodes continue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_node_releases_its_own_sessions_only() {
    let settings = [("CHAT_ACCOUNTS__SESSION_POLICY", "reject")];
    let mut cluster = Cluster::configured(&PROGRAM, 3, &settings).unwrap();
    let alice = cluster.new_user(0, "alice").await.unwrap();
    let mut bob = cluster.new_user(1, "bob").await.unwrap();
    let carol = cluster.new_user(2, "carol").await.unwrap();
    let (node, key) = (cluster.nodes[1].address(), cluster.fingerprint());
    let time_to_log_in = async |name: &str| {
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
    let took = time_to_log_in("alice").await;
    println!("logged in again after a kill: {took:?}");
    drop(alice);
    cluster.nodes[2].signal("INT").unwrap();
    tokio::task::block_in_place(|| cluster.nodes[2].wait()).unwrap();
    let took = time_to_log_in("carol").await;
    println!("logged in again after Ctrl-C: {took:?}");
    drop(carol);
    assert!(
        may_write(&mut bob, "bob").await,
        "the end of another node does not disturb Bob"
    );
}
