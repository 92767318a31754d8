//! A node that cannot serve refuses those who come anew, if others may serve them.

use super::*;
use crate::cluster::{Discovery, MemoryDiscovery, NodeInfo};
use crate::model::NodeId;
use crate::testkit::store::FaultyStore;

const SECOND: Duration = Duration::from_secs(1);
/// Two seconds until the store is asked, two for its answer, five that are waited for its return, and the time between two looks.
const CLOSED: Duration = Duration::from_secs(10);
/// Two seconds that an answer is waited for in vain, two answers half a second apart, a second that is waited, and the time between two looks.
const OPEN: Duration = Duration::from_secs(6);

/// A node that is one of two, before a store that fails when it is told to.
struct Node {
    store: Arc<FaultyStore>,
    discovery: MemoryDiscovery,
    other: NodeInfo,
    site: Site,
}

impl Node {
    async fn start(config: ServerConfig) -> Self {
        let discovery = MemoryDiscovery::new();
        let other = NodeInfo {
            id: NodeId::random(),
            incarnation: 1,
            addresses: Vec::new(),
            sessions: 0,
            draining: false,
        };
        discovery.join(other.clone()).await.unwrap();
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let mut tunables = EngineConfig::default();
        tunables.passwords.cost = PasswordCost::danger_cheap();
        let engine = Engine::builder(store.clone())
            .config(tunables)
            .discovery(Arc::new(discovery.clone()));
        let (engine, keys) = (engine.build().await.unwrap(), keys());
        let server = Server::builder(engine.clone())
            .config(config)
            .sc1(ANY_PORT, Arc::clone(&keys))
            .plain(ANY_PORT)
            .plain(ANY_PORT)
            .behind_proxy();
        let server = server.bind().await.unwrap();
        let site = Site { engine, server, keys };
        Self {
            store,
            discovery,
            other,
            site,
        }
    }

    /// The other node says of itself whether it takes sessions.
    async fn other_serves(&mut self, serves: bool) {
        self.other.draining = !serves;
        self.discovery.update(self.other.clone()).await.unwrap();
    }

    /// Whether clients get in, which is the same at every port.
    fn is_open(&self) -> bool {
        let connect = |(_, at): &(_, SocketAddr)| std::net::TcpStream::connect(at);
        let connected: Vec<_> = self.site.server.addresses().iter().map(connect).collect();
        let closed = connected.iter().filter(|result| match result {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
                true
            }
        });
        let closed = closed.count();
        assert!([0, connected.len()].contains(&closed), "{connected:?}");
        assert_eq!(self.site.server.stats().closed_listeners as usize, closed);
        closed == 0
    }

    /// Whether the others are told that this node takes sessions.
    fn is_listed(&self) -> bool {
        let nodes = self.site.engine.nodes();
        nodes.iter().any(|node| node.id != self.other.id && !node.draining)
    }

    async fn becomes(&self, open: bool, within: Duration) {
        let started = tokio::time::Instant::now();
        while self.is_open() != open {
            tokio::time::sleep(SECOND / 4).await;
            assert!(started.elapsed() <= within, "open: {}", !open);
        }
        // Whoever chooses by the list is told the same.
        tokio::time::sleep(SECOND / 4).await;
        assert_eq!(self.is_listed(), open);
    }

    async fn stays_open(&self, time: Duration) {
        let started = tokio::time::Instant::now();
        while started.elapsed() < time {
            assert!(self.is_open(), "closed after {:?}", started.elapsed());
            tokio::time::sleep(SECOND / 2).await;
        }
    }
}

#[tokio::test]
async fn a_node_without_its_store_refuses_until_it_has_it_again() {
    let node = Node::start(ServerConfig::default()).await;
    let mut alice = node.site.user("alice").await;
    tokio::time::pause();
    for _ in 0..3 {
        node.store.set_unavailable(true);
        node.becomes(false, CLOSED).await;
        let answer = alice.run(Command::ListDevices).await.unwrap_err();
        assert!(answer.to_string().contains("TryAgain"), "{answer}");
        node.store.set_unavailable(false);
        node.becomes(true, OPEN).await;
        // Its silence is as good as its failure.
        let held = node.store.hold();
        node.becomes(false, CLOSED).await;
        drop(held);
        node.becomes(true, OPEN).await;
    }
    assert!(
        alice.ask(RequestKind::Ping).await.unwrap().is_ok(),
        "who is in stays in"
    );
    tokio::time::resume();
    alice.run(Command::ListDevices).await.unwrap();
    node.site.peer().await.login("alice").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_and_goes_closes_nothing_and_opens_nothing() {
    let node = Node::start(ServerConfig::default()).await;
    for _ in 0..20 {
        node.store.set_unavailable(true);
        node.stays_open(2 * SECOND).await;
        node.store.set_unavailable(false);
        node.stays_open(3 * SECOND).await;
    }
    node.store.set_unavailable(true);
    node.becomes(false, CLOSED).await;
    for _ in 0..40 {
        node.store.set_unavailable(false);
        tokio::time::sleep(SECOND / 2).await;
        node.store.set_unavailable(true);
        tokio::time::sleep(SECOND).await;
        assert!(!node.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_serve_everybody_is_told_so() {
    let mut node = Node::start(ServerConfig::default()).await;
    node.store.set_unavailable(true);
    // The other one finds out a little later.
    node.stays_open(4 * SECOND).await;
    node.other_serves(false).await;
    node.stays_open(60 * SECOND).await;
    assert!(!node.is_listed());
    node.other_serves(true).await;
    node.becomes(false, CLOSED).await;
    // What could serve before is gone as well: an answer is better than none.
    node.other_serves(false).await;
    while !node.is_open() {
        tokio::time::sleep(SECOND / 4).await;
    }
    assert!(!node.is_listed());
    node.discovery.leave(node.other.id).await.unwrap();
    node.stays_open(60 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_closes_too() {
    let node = Node::start(ServerConfig::default()).await;
    let now = node.site.engine.now();
    node.store.set_time(Some(Timestamp(now.0 - 10 * 60 * 1000)));
    node.becomes(false, CLOSED).await;
    node.store.set_time(Some(now));
    node.becomes(true, OPEN).await;
    node.store.set_time(Some(Timestamp(now.0 - 10 * 1000)));
    node.stays_open(30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_discovery_the_store_has_told_of_the_others() {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let engine = Engine::builder(store.clone()).build().await.unwrap();
    let server = Server::builder(engine).plain(ANY_PORT).bind().await.unwrap();
    let is_open = || std::net::TcpStream::connect(server.addresses()[0].1).is_ok();
    for alone in [true, false] {
        let other = match alone {
            true => None,
            false => Some(engine_on(memory.clone()).await),
        };
        tokio::time::sleep(5 * SECOND).await;
        store.set_unavailable(true);
        tokio::time::sleep(CLOSED).await;
        assert_eq!(is_open(), alone);
        store.set_unavailable(false);
        tokio::time::sleep(OPEN).await;
        assert!(is_open());
        drop(other);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_want_it_stays_open() {
    let mut config = ServerConfig::default();
    config.unready_timeout = Duration::ZERO;
    let node = Node::start(config).await;
    node.store.set_unavailable(true);
    node.stays_open(60 * SECOND).await;
    assert!(!node.is_listed());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_has_taken_is_tried_until_it_is_free() {
    let node = Node::start(ServerConfig::default()).await;
    node.store.set_unavailable(true);
    node.becomes(false, CLOSED).await;
    // It insists, and listens.
    let thief = std::net::TcpListener::bind(node.site.server.addresses()[0].1).unwrap();
    node.store.set_unavailable(false);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(node.site.server.stats().closed_listeners, 1);
    assert!(!node.is_listed(), "half open is not open");
    drop(thief);
    while node.site.server.stats().closed_listeners > 0 {
        tokio::time::sleep(SECOND).await;
    }
    node.becomes(true, OPEN).await;
    node.store.set_unavailable(true);
    node.becomes(false, CLOSED).await;
    timeout(PATIENCE, node.site.server.drain(SECOND)).await.unwrap();
}
