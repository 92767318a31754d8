//! Nodes of a chat service in this process, and accounts for their clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chat_core::bus::MemoryBus;
use chat_core::client::{ClientEvent, ClientOptions, Credentials, Events, Scheme, ServerAddress};
use chat_core::commands::Commands;
use chat_core::engine::Engine;
use chat_core::model::{
    ConversationRef, DeviceId, MessageText, Note, Registration, Secret, Source, UserId, UserName, UserRef,
};
use chat_core::rate::Rate;
use chat_core::router::StoreEventLog;
use chat_core::secure::{Fingerprint, ServerIdentity, ServerKeys, Trust};
use chat_core::server::{Server, ServerConfig};
use chat_core::service::ChatService;
use chat_core::store::MemoryStore;
use chat_core::testkit::forwarding::{ForwardingEventLog, ForwardingService};

/// Maximum time for which a test waits for one result; then the test fails.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// True in `tests/client_forwarded.rs`, which runs the same tests with servers that reach their
/// engines through a channel, and engines that reach their event logs through a channel.
const IS_FORWARDED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"client_forwarded");
const PASSWORD: &str = "correct horse battery";

/// Store, bus and server keys that all nodes of one service share.
pub(crate) struct Deployment {
    store: Arc<MemoryStore>,
    bus: Arc<MemoryBus>,
    keys: Arc<ServerKeys>,
}

/// A server with SC1 on a loopback address, and its engine.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    server: Server,
    address: SocketAddr,
}

impl Deployment {
    pub(crate) async fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let keys = ServerKeys::new(ServerIdentity::generate(2048).unwrap(), now).unwrap();
        Self {
            store: Arc::new(MemoryStore::new()),
            bus: Arc::new(MemoryBus::new()),
            keys: Arc::new(keys),
        }
    }

    /// Returns a deployment with the same keys, another bus and no data.
    pub(crate) fn with_empty_store(&self) -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            bus: Arc::new(MemoryBus::new()),
            keys: Arc::clone(&self.keys),
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.keys.fingerprint()
    }

    /// Starts a node on a free port.
    pub(crate) async fn node(&self) -> Node {
        self.node_at(0).await
    }

    /// Starts a node on `port` of the loopback address; 0 selects a free port.
    pub(crate) async fn node_at(&self, port: u16) -> Node {
        let mut builder = Engine::builder(self.store.clone()).bus(self.bus.clone());
        if IS_FORWARDED {
            let log = Arc::new(StoreEventLog::new(self.store.clone()));
            builder = builder.event_log(Arc::new(ForwardingEventLog::new(log)));
        }
        let engine = builder.build().await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = ServerConfig::default();
        config.session.message_rate_per_connection = Rate::UNLIMITED;
        config.session.packet_rate = Rate::UNLIMITED;
        let mut service: Arc<dyn ChatService> = engine.clone().into();
        if IS_FORWARDED {
            service = Arc::new(ForwardingService::new(service));
        }
        let server = Server::builder(service)
            .config(config)
            .sc1(address, self.keys.clone())
            .bind()
            .await
            .unwrap();
        let address = server.addresses()[0].1;
        Node {
            engine,
            server,
            address,
        }
    }

    /// Registers these users, and makes each of them a friend of all others. Returns the names.
    pub(crate) async fn register_friends<const N: usize>(&self, node: &Node, names: [&str; N]) -> [String; N] {
        let mut ids: Vec<UserId> = Vec::new();
        for name in names {
            let registration = Registration::new(UserName::parse(name).unwrap(), Secret::new(PASSWORD));
            ids.push(node.engine.register(Source::Local, registration).await.unwrap().id);
        }
        for (index, user) in ids.iter().enumerate() {
            let session = node.engine.session(*user, DeviceId::random()).await.unwrap();
            for other in &ids[index + 1..] {
                session.request_friend(*other, Note::default()).await.unwrap();
                let peer = node.engine.session(*other, DeviceId::random()).await.unwrap();
                peer.answer_friend(*user, true).await.unwrap();
            }
        }
        names.map(str::to_owned)
    }
}

impl Node {
    pub(crate) fn address(&self) -> ServerAddress {
        ServerAddress {
            scheme: Scheme::Sc1,
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }

    /// Returns the options of a client that logs in on this node with the password of the user, and
    /// pins the first key of each server.
    pub(crate) fn options(&self, name: &str) -> ClientOptions {
        let mut options = ClientOptions::new([self.address()], password(name, PASSWORD));
        options.trust = Trust::AcceptNew;
        options
    }

    /// Asks the clients to leave, waits at most 5 s until they have left, and stops the node.
    pub(crate) async fn stop(self) {
        self.server.drain(Duration::from_secs(5)).await;
        self.engine.shutdown().await;
    }

    /// Returns the number of open connections to the server.
    pub(crate) fn connections(&self) -> u32 {
        self.server.stats().connections
    }

    /// Waits until the server has exactly `count` connections.
    pub(crate) async fn wait_for_connections(&self, count: u32) {
        let counted = async {
            while self.connections() != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, counted)
            .await
            .unwrap_or_else(|_| panic!("the server does not reach {count} connections"));
    }
}

pub(crate) fn password(name: &str, password: &str) -> Credentials {
    Credentials::Password {
        account: UserRef::Name(UserName::parse(name).unwrap()),
        secret: Secret::new(password),
        fresh: false,
    }
}

pub(crate) fn direct(name: &str) -> ConversationRef {
    ConversationRef::Direct(UserRef::Name(UserName::parse(name).unwrap()))
}

pub(crate) fn message(number: u64) -> MessageText {
    MessageText::new(format!("message {number}")).unwrap()
}

/// Takes events until `count` of them are messages, and returns the sequence numbers of these
/// messages.
pub(crate) async fn seqs(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let received = tokio::time::timeout(WAIT_TIMEOUT, events.next())
            .await
            .expect("the next event arrives in time")
            .unwrap();
        if let ClientEvent::Event(delivery) = &received.event
            && matches!(delivery.body, chat_core::model::EventBody::Message(_))
        {
            seqs.push(delivery.seq().0);
        }
    }
    seqs
}
