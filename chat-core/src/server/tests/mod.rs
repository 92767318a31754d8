#![allow(clippy::field_reassign_with_default)] // embedders fill the non-exhaustive structs in the same way

mod ended_sessions;
mod readiness_gate;
mod regressions;
mod streams;

use std::net::Ipv4Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;
use crate::auth::{ConnectionLimits, PasswordCost, ThrottleOptions};
use crate::codec::{Incoming, RequestKind, client};
use crate::engine::EngineConfig;
use crate::engine::{Engine, EngineBuilder};
use crate::model::{
    CloseCode, Command, ConversationKind, ConversationRef, Draft, Member, MessageText, Note, Outcome, Push, ReplyCode,
    Role, Seq, Timestamp, UserId, UserName, UserRef,
};
use crate::router::StoreEventLog;
use crate::secure::{ServerIdentity, ServerKeys};
use crate::store::{MemoryStore, NewConversation, Store};
use crate::testkit::Peer;
use crate::testkit::forwarding::{ForwardingEventLog, ForwardingService};
use crate::testkit::store::{new_account, transact};
use crate::transport::MemoryTransport;

/// Connection between a server and its engine. Each test of this folder runs once for each
/// boundary.
#[derive(Clone, Copy, Debug)]
pub(super) enum Boundary {
    /// The server holds the engine itself.
    Direct,
    /// All calls, outcomes and events cross a channel, and so do the reads of the router.
    Forwarded,
}

impl Boundary {
    /// Returns the builder of an engine whose router reads its log across this boundary.
    fn builder(self, store: Arc<dyn Store>) -> EngineBuilder {
        let builder = Engine::builder(Arc::clone(&store));
        match self {
            Self::Direct => builder,
            Self::Forwarded => {
                let log = Arc::new(StoreEventLog::new(store));
                builder.event_log(Arc::new(ForwardingEventLog::new(log)))
            }
        }
    }

    pub(super) fn service(self, engine: &Engine) -> Arc<dyn ChatService> {
        let service = engine.clone().into();
        match self {
            Self::Direct => service,
            Self::Forwarded => Arc::new(ForwardingService::new(service)),
        }
    }
}

/// Runs each of the listed tests once for each [`Boundary`].
macro_rules! on_each_boundary {
    ($($(#[$attribute:meta])+ $test:ident,)+) => {
        mod direct {
            $($(#[$attribute])+ async fn $test() {
                super::$test($crate::server::tests::Boundary::Direct).await;
            })+
        }

        mod forwarded {
            $($(#[$attribute])+ async fn $test() {
                super::$test($crate::server::tests::Boundary::Forwarded).await;
            })+
        }
    };
}
pub(super) use on_each_boundary;

/// Maximum time of a step of a test; a test whose step takes longer fails.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) async fn engine(boundary: Boundary) -> Engine {
    engine_on(boundary, Arc::new(MemoryStore::new())).await
}

async fn engine_on(boundary: Boundary, store: Arc<MemoryStore>) -> Engine {
    engine_with(boundary, store, EngineConfig::default()).await
}

async fn engine_with(boundary: Boundary, store: Arc<MemoryStore>, mut config: EngineConfig) -> Engine {
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    boundary.builder(store).config(config).build().await.unwrap()
}

pub(super) fn keys() -> Arc<ServerKeys> {
    let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Arc::new(ServerKeys::new(ServerIdentity::generate(2048).unwrap(), unix_now).unwrap())
}

/// A server with an SC1 listener, its engine and its keys.
struct Site {
    engine: Engine,
    server: Server,
    keys: Arc<ServerKeys>,
}

impl Site {
    async fn new(boundary: Boundary, config: ServerConfig) -> Self {
        Self::on_store(boundary, Arc::new(MemoryStore::new()), config).await
    }

    async fn on_store(boundary: Boundary, store: Arc<MemoryStore>, config: ServerConfig) -> Self {
        Self::with_engine(boundary, engine_on(boundary, store).await, config).await
    }

    async fn with_engine(boundary: Boundary, engine: Engine, config: ServerConfig) -> Self {
        let keys = keys();
        let builder = Server::builder(boundary.service(&engine))
            .config(config)
            .sc1(ANY_PORT, Arc::clone(&keys));
        let server = builder.bind().await.unwrap();
        Self { engine, server, keys }
    }

    /// Returns a client that has not logged in.
    async fn peer(&self) -> Peer {
        Peer::connect(self.server.addresses()[0].1, self.keys.fingerprint())
            .await
            .unwrap()
    }

    /// Registers an account and returns a client that has logged in to it.
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

/// Returns the command that sends `text` directly to the user `to`.
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

/// Waits until `count` messages were pushed to `peer`. Returns their sequence numbers.
async fn messages(peer: &mut Peer, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        if let Push::Event(event) = timeout(WAIT_TIMEOUT, peer.next_push()).await.unwrap().unwrap()
            && event.kind == crate::model::EventKind::Message
        {
            seqs.push(event.seq);
        }
    }
    seqs
}

async fn sc1_connection_carries_a_conversation(boundary: Boundary) {
    let site = Site::new(boundary, ServerConfig::default()).await;
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

/// A user with many devices sends no faster than one with few. No message is rejected, and other
/// users are not delayed.
async fn message_rate_is_shared_by_all_devices_of_a_user(boundary: Boundary) {
    const DEVICES: usize = 4;
    const EACH: usize = 15;
    let mut config = EngineConfig::default();
    config.message_rate = crate::rate::Rate::new(40, Duration::from_secs(1)).with_burst(20);
    let engine = engine_with(boundary, Arc::new(MemoryStore::new()), config).await;
    let site = Site::with_engine(boundary, engine, ServerConfig::default()).await;
    let mut bob = site.user("bob").await;
    let _ = site.user("alice").await;
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        let mut device = site.peer().await;
        device.login("alice").await.unwrap();
        devices.push(device);
    }
    let started = Instant::now();
    let sends = devices.into_iter().map(async |mut device: Peer| {
        let mut waiting = std::collections::HashSet::new();
        for _ in 0..EACH {
            waiting.insert(device.send(RequestKind::Command(say("alice", "x"))).await.unwrap());
        }
        while !waiting.is_empty() {
            if let Incoming::Reply { request_id, result } = device.next().await.unwrap() {
                result.unwrap();
                waiting.remove(&request_id);
            }
        }
    });
    timeout(WAIT_TIMEOUT, futures_util::future::join_all(sends))
        .await
        .unwrap();
    let took = started.elapsed();
    // 60 messages with a burst of 20; a few were read before the rate was exceeded.
    assert!(took > Duration::from_millis(700), "{took:?}");
    timeout(WAIT_TIMEOUT, bob.run(say("bob", "x"))).await.unwrap().unwrap();
}

async fn pipelined_messages_keep_their_order(boundary: Boundary) {
    let site = Site::new(boundary, ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    // From here on, Bob's session follows the conversation. Before that, it might get a `Behind`
    // push.
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
        let next = timeout(WAIT_TIMEOUT, alice.next()).await;
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

async fn commands_before_login_are_rejected(boundary: Boundary) {
    let site = Site::new(boundary, ServerConfig::default()).await;
    let mut peer = site.peer().await;
    for command in [Command::ListDevices, Command::Logout, say("bob", "hello")] {
        let failure = peer.ask(RequestKind::Command(command)).await.unwrap().unwrap_err();
        assert_eq!(failure.code(), Some(ReplyCode::NotLoggedIn));
    }
}

async fn drain_asks_clients_to_reconnect_and_ends(boundary: Boundary) {
    let site = Site::new(boundary, ServerConfig::default()).await;
    let mut alice = site.user("alice").await;
    let drained = tokio::spawn(async move { site.server.drain(WAIT_TIMEOUT).await });
    let mut pushes = Vec::new();
    while let Ok(push) = timeout(WAIT_TIMEOUT, alice.next_push()).await.unwrap() {
        pushes.push(push);
    }
    assert!(
        matches!(
            pushes[..],
            [.., Push::GoAway { .. }, Push::Closed(CloseCode::GoingAway)]
        ),
        "{pushes:?}"
    );
    timeout(WAIT_TIMEOUT, drained).await.unwrap().unwrap();
    timeout(WAIT_TIMEOUT, site.engine.shutdown()).await.unwrap();
}

async fn dropped_server_ends_every_task(boundary: Boundary) {
    let site = Site::new(boundary, ServerConfig::default()).await;
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

async fn two_servers_in_one_process_are_independent(boundary: Boundary) {
    let (one, other) = (
        Site::new(boundary, ServerConfig::default()).await,
        Site::new(boundary, ServerConfig::default()).await,
    );
    let _alice = one.user("alice").await;
    let mut stranger = other.peer().await;
    assert!(stranger.login("alice").await.is_err(), "the other server has no alice");
    drop(one);
    stranger.register("alice").await.unwrap();
    stranger.login("alice").await.unwrap();
}

async fn connections_beyond_max_connections_are_closed(boundary: Boundary) {
    let mut config = ServerConfig::default();
    config.max_connections = 2;
    let site = Site::new(boundary, config).await;
    let (_one, _other) = (site.peer().await, site.peer().await);
    assert!(
        Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
            .await
            .is_err()
    );
}

async fn handshakes_beyond_the_rate_are_rejected_as_busy(boundary: Boundary) {
    let mut config = ServerConfig::default();
    config.handshake_rate = crate::rate::Rate::new(1, Duration::from_secs(3600));
    let site = Site::new(boundary, config).await;
    let _first = site.peer().await;
    let refused = Peer::connect(site.server.addresses()[0].1, site.keys.fingerprint())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("Busy"), "{refused}");
}

/// Returns a server, and a raw stream to its unencrypted listener within the process.
async fn raw(boundary: Boundary, config: ServerConfig) -> (Server, MemoryTransport) {
    let (builder, connector) = Server::builder(boundary.service(&engine(boundary).await))
        .config(config)
        .memory();
    let server = builder.bind().await.unwrap();
    let stream = connector.connect().await.unwrap();
    (server, stream)
}

/// Reads everything that the server sends until it closes the stream.
pub(super) async fn rest(stream: &mut MemoryTransport) -> Vec<u8> {
    let mut rest = Vec::new();
    timeout(WAIT_TIMEOUT, stream.read_to_end(&mut rest))
        .await
        .expect("the server closes the stream in time")
        .unwrap();
    rest
}

/// Returns the close code in the last of these packets, or `None` if that packet is not a close.
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

async fn slow_guest_is_closed_at_its_deadline(boundary: Boundary) {
    let started = tokio::time::Instant::now();
    let (_server, mut stream) = raw(boundary, ServerConfig::default()).await;
    // The client sends one byte a second. This does not extend the deadline, which is for the whole
    // packet.
    let mut slow = tokio::time::interval(Duration::from_secs(1));
    for byte in 4000_u32.to_be_bytes().into_iter().chain([0; 100]) {
        slow.tick().await;
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    rest(&mut stream).await;
    assert!(started.elapsed() < Duration::from_secs(120));
    let (_server, mut stream) = raw(boundary, ServerConfig::default()).await;
    let connected = tokio::time::Instant::now();
    rest(&mut stream).await;
    assert!(
        connected.elapsed() <= Duration::from_secs(6),
        "{:?}",
        connected.elapsed()
    );
}

async fn version_mismatch_is_reported_without_a_penalty(boundary: Boundary) {
    let (server, mut stream) = raw(boundary, ServerConfig::default()).await;
    let hello = crate::codec::Hello {
        min_version: 2,
        max_version: 3,
        client: "from the future".into(),
    };
    let mut bytes = bytes::BytesMut::new();
    let request = crate::codec::Request {
        id: crate::codec::RequestId(1),
        kind: RequestKind::Hello(hello),
    };
    client::encode_request(&request, &mut bytes);
    stream.write_all(&bytes).await.unwrap();
    let answer = rest(&mut stream).await;
    assert_eq!(closed_with(&answer), Some(CloseCode::UnsupportedVersion));
    let mut decoder = crate::codec::frame::FrameDecoder::new(usize::MAX);
    decoder.feed(answer[..].into());
    let Incoming::Reply {
        result: Err(refusal), ..
    } = client::decode(decoder.next_packet().unwrap().unwrap()).unwrap()
    else {
        panic!("no reply");
    };
    assert_eq!(refusal.code(), Some(ReplyCode::UnsupportedVersion));
    assert!(
        refusal.text.contains("version 1") && refusal.text.contains("versions 2 to 3"),
        "{}",
        refusal.text
    );
    assert_eq!(server.shared.connection_gate.stats().penalties, 0);
}

async fn connections_per_source_are_limited(boundary: Boundary) {
    let mut config = ServerConfig::default();
    config.connection_limits = ConnectionLimits::default();
    config.connection_limits.exempt_loopback = false;
    config.connection_limits.max_unauthenticated_per_source = 3;
    let site = Site::new(boundary, config).await;
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
    timeout(WAIT_TIMEOUT, again)
        .await
        .expect("a connection can be accepted again");
}

async fn login_beyond_the_source_limit_ends_no_older_session(boundary: Boundary) {
    let mut config = ServerConfig::default();
    config.connection_limits = ConnectionLimits::default();
    config.connection_limits.exempt_loopback = false;
    config.connection_limits.max_authenticated_per_source = 1;
    let site = Site::new(boundary, config).await;
    let mut first = site.user("alice").await;
    let mut second = site.peer().await;
    assert!(second.login("alice").await.is_err());
    let Outcome::Devices(devices) = first.run(Command::ListDevices).await.unwrap() else {
        panic!("no list of devices");
    };
    assert_eq!(
        devices.len(),
        1,
        "the second login was rejected before it changed anything"
    );

    // A login that fails does not count.
    drop(first);
    let mut third = site.peer().await;
    while site.server.shared.connection_gate.stats().authenticated > 0 {
        tokio::task::yield_now().await;
    }
    assert!(third.login("nobody").await.is_err());
    third.login("alice").await.unwrap();
}

async fn login_reports_thousands_of_conversations(boundary: Boundary) {
    const MANY: u64 = 5000;
    let store = Arc::new(MemoryStore::new());
    let site = Site::on_store(boundary, Arc::clone(&store), ServerConfig::default()).await;
    drop(site.user("alice").await);
    transact(&*store, |tx| {
        Box::pin(async move {
            let alice = UserId(1);
            for n in 0..MANY {
                let peer = tx.create_account(new_account(&format!("user-{n}"))).await?.unwrap();
                let new = NewConversation {
                    kind: ConversationKind::direct(alice, peer),
                    group: None,
                    created: Timestamp(1),
                };
                let id = tx.create_conversation(new).await?.unwrap();
                for user in [alice, peer] {
                    tx.put_member(&Member::active(id, user, Role::Member, Seq(1))).await?;
                }
            }
            Ok(())
        })
    })
    .await
    .unwrap();
    let mut peer = site.peer().await;
    let logged_in = timeout(WAIT_TIMEOUT, peer.login("alice")).await.unwrap().unwrap();
    assert_eq!(
        logged_in.conversations.len() as u64,
        MANY + 1,
        "the conversations and the inbox"
    );
}

on_each_boundary! {
    #[tokio::test]
    sc1_connection_carries_a_conversation,
    #[tokio::test]
    message_rate_is_shared_by_all_devices_of_a_user,
    #[tokio::test]
    pipelined_messages_keep_their_order,
    #[tokio::test]
    commands_before_login_are_rejected,
    #[tokio::test]
    drain_asks_clients_to_reconnect_and_ends,
    #[tokio::test]
    dropped_server_ends_every_task,
    #[tokio::test]
    two_servers_in_one_process_are_independent,
    #[tokio::test]
    connections_beyond_max_connections_are_closed,
    #[tokio::test]
    handshakes_beyond_the_rate_are_rejected_as_busy,
    #[tokio::test(start_paused = true)]
    slow_guest_is_closed_at_its_deadline,
    #[tokio::test]
    version_mismatch_is_reported_without_a_penalty,
    #[tokio::test]
    connections_per_source_are_limited,
    #[tokio::test]
    login_beyond_the_source_limit_ends_no_older_session,
    #[tokio::test]
    login_reports_thousands_of_conversations,
}
