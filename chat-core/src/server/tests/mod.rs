//! Tests of servers: conversations, sessions that the engine has ended, lifecycle, limits, the
//! readiness gate, streams that the embedding application has accepted, and inputs and loads that
//! have made other chat servers fail.

#![allow(clippy::field_reassign_with_default)] // like embedders, who cannot write literals of non-exhaustive structs

mod conversations;
mod ended_sessions;
mod lifecycle;
mod limits;
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

/// How a server reaches its engine. Each test of this folder runs once with each link.
#[derive(Clone, Copy, Debug)]
pub(super) enum EngineLink {
    /// The server holds the engine itself.
    Direct,
    /// All calls, outcomes and events cross a channel, and so do the reads of the router.
    Forwarded,
}

impl EngineLink {
    /// Returns the builder of an engine whose router reads its log across this link.
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

/// Runs each of the listed tests once for each [`EngineLink`].
macro_rules! on_each_engine_link {
    ($($(#[$attribute:meta])+ $test:ident,)+) => {
        mod direct {
            $($(#[$attribute])+ async fn $test() {
                super::$test($crate::server::tests::EngineLink::Direct).await;
            })+
        }

        mod forwarded {
            $($(#[$attribute])+ async fn $test() {
                super::$test($crate::server::tests::EngineLink::Forwarded).await;
            })+
        }
    };
}

pub(super) use on_each_engine_link;

/// Maximum time of a step of a test; a test whose step takes longer fails.
pub(super) const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) async fn engine(link: EngineLink) -> Engine {
    engine_on(link, Arc::new(MemoryStore::new())).await
}

async fn engine_on(link: EngineLink, store: Arc<MemoryStore>) -> Engine {
    engine_with(link, store, EngineConfig::default()).await
}

async fn engine_with(link: EngineLink, store: Arc<MemoryStore>, mut config: EngineConfig) -> Engine {
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    link.builder(store).config(config).build().await.unwrap()
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
    async fn new(link: EngineLink, config: ServerConfig) -> Self {
        Self::on_store(link, Arc::new(MemoryStore::new()), config).await
    }

    async fn on_store(link: EngineLink, store: Arc<MemoryStore>, config: ServerConfig) -> Self {
        Self::with_engine(link, engine_on(link, store).await, config).await
    }

    async fn with_engine(link: EngineLink, engine: Engine, config: ServerConfig) -> Self {
        let keys = keys();
        let builder = Server::builder(link.service(&engine))
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

/// Returns a server, and a raw stream to its unencrypted listener within the process.
async fn raw(link: EngineLink, config: ServerConfig) -> (Server, MemoryTransport) {
    let (builder, connector) = Server::builder(link.service(&engine(link).await))
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

/// Returns the close code in the last packet of `bytes`, or `None` if there is no packet or the
/// last is not a close.
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
