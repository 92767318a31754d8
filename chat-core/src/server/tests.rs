#![allow(clippy::field_reassign_with_default)] // the structs are non-exhaustive: this is how users fill them too

use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::auth::{ConnectionLimits, PasswordCost, ThrottleOptions};
use crate::codec::{Incoming, RequestKind, client};
use crate::engine::EngineConfig;
use crate::model::{
    CloseCode, Command, ConversationRef, Draft, MessageText, Note, Outcome, Push, ReplyCode, Seq, UserName, UserRef,
};
use crate::secure::{ServerIdentity, ServerKeys};
use crate::store::MemoryStore;
use crate::testkit::Peer;
use crate::transport::memory::MemoryTransport;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) async fn engine() -> Engine {
    let mut config = EngineConfig::default();
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    Engine::builder(Arc::new(MemoryStore::new()))
        .config(config)
        .build()
        .await
        .unwrap()
}

pub(super) fn keys() -> Arc<ServerKeys> {
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Arc::new(ServerKeys::new(ServerIdentity::generate(2048).unwrap(), unix_now).unwrap())
}

struct Site {
    engine: Engine,
    server: Server,
    keys: Arc<ServerKeys>,
}

impl Site {
    async fn new(config: ServerConfig) -> Self {
        let (engine, keys) = (engine().await, keys());
        let builder = Server::builder(engine.clone())
            .config(config)
            .sc1(ANY_PORT, Arc::clone(&keys));
        let server = builder.bind().await.unwrap();
        Self { engine, server, keys }
    }

    async fn peer(&self) -> Peer {
        Peer::connect(self.server.addresses()[0].1, self.keys.fingerprint())
            .await
            .unwrap()
    }

    async fn user(&self, name: &str) -> Peer {
        let mut peer = self.peer().await;
        peer.register(name).await.unwrap();
        peer.login(name).await.unwrap();
        peer
    }
}

pub(super) fn named(name: &str) -> UserRef {
    UserRef::Name(UserName::parse(name).unwrap())
}

pub(super) fn say(to: &str, text: &str) -> Command {
    let draft = Draft::text(MessageText::new(text.to_owned()).unwrap());
    Command::Send {
        conversation: ConversationRef::Direct(named(to)),
        draft,
    }
}

async fn befriend(alice: &mut Peer, bob: &mut Peer) {
    alice
        .run(Command::RequestFriend {
            user: named("bob"),
            note: Note::new("").unwrap(),
        })
        .await
        .unwrap();
    bob.run(Command::AnswerFriend {
        user: named("alice"),
        accept: true,
    })
    .await
    .unwrap();
}

async fn messages(peer: &mut Peer, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        if let Push::Event(event) = timeout(PATIENCE, peer.push()).await.unwrap().unwrap()
            && event.kind == crate::model::EventKind::Message
        {
            seqs.push(event.seq);
        }
    }
    seqs
}

#[tokio::test]
async fn two_people_talk_over_an_encrypted_connection() {
    let site = Site::new(ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    for n in 1..=20 {
        let Outcome::Appended(appended) = alice.run(say("bob", "你好, 𠮷")).await.unwrap() else {
            panic!()
        };
        assert_eq!(appended.seq, Seq(n));
    }
    assert_eq!(messages(&mut bob, 20).await, (1..=20).map(Seq).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_sent_at_once_keeps_its_order() {
    let site = Site::new(ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    // Now bob's session follows the conversation; of what was said before, it might be told that it is behind.
    alice.run(say("bob", "first")).await.unwrap();
    messages(&mut bob, 1).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(
            alice
                .send(RequestKind::Command(say("bob", &n.to_string())))
                .await
                .unwrap(),
        );
    }
    let mut seqs = Vec::new();
    while seqs.len() < ids.len() {
        let next = timeout(PATIENCE, alice.next()).await;
        match next.unwrap_or_else(|_| panic!("only {} answers", seqs.len())).unwrap() {
            Incoming::Reply {
                request_id,
                result: Ok(crate::codec::Answer::Outcome(Outcome::Appended(appended))),
            } => {
                seqs.push((request_id, appended.seq));
            }
            Incoming::Reply { result, .. } => panic!("{result:?}"),
            _ => {}
        }
    }
    seqs.sort();
    assert_eq!(seqs, ids.into_iter().zip((2..=201).map(Seq)).collect::<Vec<_>>());
    assert_eq!(messages(&mut bob, 200).await.len(), 200);
}

#[tokio::test]
async fn nothing_but_registering_and_logging_in_comes_before_login() {
    let site = Site::new(ServerConfig::default()).await;
    let mut peer = site.peer().await;
    for command in [Command::ListDevices, Command::Logout, say("bob", "hello")] {
        let failure = peer.ask(RequestKind::Command(command)).await.unwrap().unwrap_err();
        assert_eq!(failure.code(), Some(ReplyCode::NotLoggedIn));
    }
}

#[tokio::test]
async fn a_drain_tells_the_clients_and_ends() {
    let site = Site::new(ServerConfig::default()).await;
    let mut alice = site.user("alice").await;
    let drained = tokio::spawn(site.server.drain(PATIENCE));
    let mut pushes = Vec::new();
    while let Ok(push) = timeout(PATIENCE, alice.push()).await.unwrap() {
        pushes.push(push);
    }
    assert!(
        matches!(
            pushes[..],
            [.., Push::GoAway { .. }, Push::Closed(CloseCode::GoingAway)]
        ),
        "{pushes:?}"
    );
    timeout(PATIENCE, drained).await.unwrap().unwrap();
    timeout(PATIENCE, site.engine.shutdown()).await.unwrap();
}

#[tokio::test]
async fn dropping_a_server_ends_every_task() {
    let site = Site::new(ServerConfig::default()).await;
    let _idle = site.user("alice").await;
    let _silent = tokio::net::TcpStream::connect(site.server.addresses()[0].1)
        .await
        .unwrap();
    let tasks = site.server.shared.tasks.clone();
    drop(site.server);
    tasks.close();
    timeout(Duration::from_secs(2), tasks.wait())
        .await
        .expect("every task ends within 2 s");
}

#[tokio::test]
async fn two_servers_in_one_process_do_not_know_each_other() {
    let (one, other) = (
        Site::new(ServerConfig::default()).await,
        Site::new(ServerConfig::default()).await,
    );
    let _alice = one.user("alice").await;
    let mut stranger = other.peer().await;
    assert!(stranger.login("alice").await.is_err(), "the other server has no alice");
    drop(one);
    stranger.register("alice").await.unwrap();
    stranger.login("alice").await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed() {
    let mut config = ServerConfig::default();
    config.max_connections = 2;
    let site = Site::new(config).await;
    let (_one, _other) = (site.peer().await, site.peer().await);
    assert!(
        Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_flood_of_handshakes_is_turned_away_before_it_costs() {
    let mut config = ServerConfig::default();
    config.handshakes = crate::auth::RateLimit::new(1, Duration::from_secs(3600));
    let site = Site::new(config).await;
    let _first = site.peer().await;
    let refused = Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("Busy"), "{refused}");
}

/// A raw stream to a server that speaks plain text inside the process.
async fn raw(config: ServerConfig) -> (Server, MemoryTransport) {
    let (builder, connector) = Server::builder(engine().await).config(config).memory();
    let server = builder.bind().await.unwrap();
    let stream = connector.connect().await.unwrap();
    (server, stream)
}

pub(super) async fn rest(stream: &mut MemoryTransport) -> Vec<u8> {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the server closes")
        .unwrap();
    rest
}

pub(super) fn closed_with(bytes: &[u8]) -> Option<CloseCode> {
    let mut decoder = crate::codec::frame::FrameDecoder::new(usize::MAX);
    decoder.feed(bytes.into());
    let mut last = None;
    while let Some(packet) = decoder.next_packet().unwrap() {
        last = Some(client::decode(packet).unwrap());
    }
    match last {
        Some(Incoming::Push(Push::Closed(code))) => Some(code),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn seed_check_02_garbage_closes_the_connection_and_nothing_else() {
    let whole = |length: u32, body: &[u8]| [&length.to_be_bytes()[..], body].concat();
    for (bytes, code) in [
        (whole(u32::MAX, b""), Some(CloseCode::PacketTooLarge)),
        (whole(4097, b""), Some(CloseCode::PacketTooLarge)),
        (whole(3, b"\xff\xff\xff"), Some(CloseCode::ProtocolError)),
        (whole(0, b""), Some(CloseCode::ProtocolError)),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(CloseCode::PacketTooLarge)),
    ] {
        let (server, mut stream) = raw(ServerConfig::default()).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(closed_with(&rest(&mut stream).await), code, "{bytes:?}");
        assert_eq!(server.stats().panics, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_dawdles_is_closed_in_time() {
    let started = tokio::time::Instant::now();
    let (_server, mut stream) = raw(ServerConfig::default()).await;
    // Byte after byte, each in time: the deadline is for the whole step.
    let mut slow = tokio::time::interval(Duration::from_secs(1));
    for byte in 4000_u32.to_be_bytes().into_iter().chain([0; 100]) {
        slow.tick().await;
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    rest(&mut stream).await;
    assert!(started.elapsed() < Duration::from_secs(120));
    let (_server, mut stream) = raw(ServerConfig::default()).await;
    let connected = tokio::time::Instant::now();
    rest(&mut stream).await;
    assert!(
        connected.elapsed() <= Duration::from_secs(6),
        "{:?}",
        connected.elapsed()
    );
}

#[tokio::test]
async fn a_source_has_so_many_connections_and_no_more() {
    let mut config = ServerConfig::default();
    config.connections = ConnectionLimits::default();
    config.connections.exempt_loopback = false;
    config.connections.unauthenticated_per_source = 3;
    let site = Site::new(config).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(site.peer().await);
    }
    assert!(
        Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
    );
    peers.clear();
    let again = async {
        while Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.expect("room is made");
}

#[tokio::test]
async fn seed_check_05_a_slow_reader_is_told_that_it_is_behind_and_delays_nobody() {
    let mut config = ServerConfig::default();
    config.outbox = crate::router::OutboxLimits::new(64, 64 * 1024);
    let site = Site::new(config).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    let text = "x".repeat(16 * 1024);
    for _ in 0..900 {
        alice.run(say("bob", &text)).await.unwrap();
    }
    let mut last = Seq::ZERO;
    let mut behind = None;
    while last < Seq(900) && behind < Some(Seq(900)) {
        match timeout(PATIENCE, bob.push()).await.unwrap().unwrap() {
            Push::Event(event) if event.kind == crate::model::EventKind::Message => last = event.seq,
            Push::Behind { last_seq, .. } => behind = Some(last_seq),
            _ => {}
        }
    }
    assert!(behind.is_some(), "more was sent than sockets and outbox hold");
}

/// Everything that a guest has to say to be answered three times.
fn script() -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    let hello = crate::codec::Hello {
        min_version: 1,
        max_version: 1,
        client: "test".into(),
    };
    for (id, kind) in [
        (1, RequestKind::Hello(hello)),
        (2, RequestKind::Ping),
        (3, RequestKind::Command(Command::ListDevices)),
    ] {
        client::encode_request(
            &crate::codec::Request {
                id: crate::codec::RequestId(id),
                kind,
            },
            &mut bytes,
        );
    }
    bytes.to_vec()
}

/// What a server answers to these chunks, as request ids and codes.
async fn answers(chunks: Vec<&[u8]>) -> Vec<(u64, Option<ReplyCode>)> {
    let (_server, mut stream) = raw(ServerConfig::default()).await;
    for chunk in chunks {
        stream.write_all(chunk).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut decoder = crate::codec::frame::FrameDecoder::new(usize::MAX);
    let mut answers = Vec::new();
    let mut buffer = bytes::BytesMut::new();
    while answers.len() < 3 {
        let read = timeout(PATIENCE, stream.read_buf(&mut buffer))
            .await
            .expect("an answer comes")
            .unwrap();
        assert!(read > 0, "the server stays");
        decoder.feed(buffer.split());
        while let Some(packet) = decoder.next_packet().unwrap() {
            let Incoming::Reply { request_id, result } = client::decode(packet).unwrap() else {
                continue;
            };
            answers.push((request_id.0, result.err().and_then(|failure| failure.code())));
        }
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn seed_check_01_any_split_of_the_bytes_gives_the_same_answers() {
    let script = script();
    let expected = vec![(1, None), (2, None), (3, Some(ReplyCode::NotLoggedIn))];
    assert_eq!(answers(vec![&script]).await, expected);
    assert_eq!(answers(script.chunks(1).collect()).await, expected);
    for cut in 1..script.len() {
        let (one, other) = script.split_at(cut);
        assert_eq!(answers(vec![one, other]).await, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn seed_check_04_packets_as_large_as_buffers_arrive_even_from_a_peer_that_leaves() {
    let site = Site::new(ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    let mut sent = 0;
    for power in 6..=14 {
        for size in [(1_usize << power) - 1, 1 << power, (1 << power) + 1] {
            if size <= MessageText::MAX_BYTES {
                let Outcome::Appended(appended) = alice.run(say("bob", &"x".repeat(size))).await.unwrap() else {
                    panic!("{size} bytes")
                };
                sent += 1;
                assert_eq!(appended.seq, Seq(sent));
            }
        }
    }
    // The last one is sent by a peer that leaves at once, without waiting for its answer.
    alice
        .send(RequestKind::Command(say("bob", &"y".repeat(16 * 1024))))
        .await
        .unwrap();
    drop(alice);
    let all_there = async {
        loop {
            let conversation = ConversationRef::Direct(named("alice"));
            let Outcome::Conversation(info) = bob.run(Command::GetConversation(conversation)).await.unwrap() else {
                panic!()
            };
            if info.last_seq == Seq(sent + 1) {
                break;
            }
        }
    };
    timeout(PATIENCE, all_there)
        .await
        .expect("what was sent before leaving is stored");
}

#[tokio::test]
async fn seed_check_22_many_come_and_go_at_once() {
    const MANY: usize = 300;
    const USERS: usize = MANY / 15; // a user has at most 20 devices
    let site = Arc::new(Site::new(ServerConfig::default()).await);
    for name in 0..USERS {
        drop(site.user(&format!("user-{name}")).await);
    }
    let mut coming = Vec::new();
    for n in 0..MANY {
        let site = Arc::clone(&site);
        coming.push(tokio::spawn(async move {
            let mut peer = site.peer().await;
            // Passwords take time: who comes while 64 wait already is told to come again.
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            loop {
                pace.tick().await;
                match peer.login(&format!("user-{}", n % USERS)).await {
                    Ok(_) => break peer,
                    Err(busy) => assert!(busy.to_string().contains("Busy"), "{busy}"),
                }
            }
        }));
    }
    let mut peers = Vec::new();
    for peer in coming {
        peers.push(timeout(PATIENCE, peer).await.expect("all get in").unwrap());
    }
    assert_eq!(site.engine.stats().router.sessions, MANY);
    drop(peers);
    let gone = async {
        while site.server.stats().connections > 0 || site.engine.stats().router.sessions > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone)
        .await
        .expect("nothing is left of those who went");
    assert_eq!(site.server.stats().panics, 0);
    let mut late = site.peer().await;
    late.login("user-0").await.unwrap();
}
