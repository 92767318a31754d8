//! Tests of the readiness gate: a node that cannot serve closes its listeners if other nodes may be
//! able to serve.

use super::*;
use crate::cluster::{Discovery, MemoryDiscovery, NodeInfo};
use crate::model::NodeId;
use crate::testkit::store::FaultyStore;

const SECOND: Duration = Duration::from_secs(1);
/// Maximum time until the listeners close: two seconds until the store is probed, two seconds for
/// its answer, five seconds of unready timeout, and the interval of the checks.
const MAX_TIME_TO_CLOSE: Duration = Duration::from_secs(10);
/// Maximum time until the listeners open: two seconds for a probe that times out, two answers half
/// a second apart, one second of delay, and the interval of the checks.
const MAX_TIME_TO_OPEN: Duration = Duration::from_secs(6);

/// One of two nodes, on a store that fails on demand.
struct Node {
    store: Arc<FaultyStore>,
    discovery: MemoryDiscovery,
    other: NodeInfo,
    site: Site,
}

impl Node {
    async fn start(link: EngineLink, config: ServerConfig) -> Self {
        let discovery = MemoryDiscovery::new();
        let other = NodeInfo {
            id: NodeId::random(),
            incarnation: 1,
            addresses: Vec::new(),
            sessions: 0,
            accepts_no_sessions: false,
        };
        discovery.join(other.clone()).await.unwrap();
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
        let mut engine_config = EngineConfig::default();
        engine_config.passwords.cost = PasswordCost::danger_cheap();
        let engine = link
            .builder(store.clone())
            .config(engine_config)
            .discovery(Arc::new(discovery.clone()));
        let (engine, keys) = (engine.build().await.unwrap(), keys());
        let server = Server::builder(link.service(&engine))
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

    /// Makes the other node announce whether it accepts sessions.
    async fn set_other_accepts_sessions(&mut self, accepts_sessions: bool) {
        self.other.accepts_no_sessions = !accepts_sessions;
        self.discovery.update(self.other.clone()).await.unwrap();
    }

    /// Returns whether clients can connect. Asserts that all ports and the server's statistics
    /// agree.
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

    /// Returns whether discovery lists this node as one that accepts sessions.
    fn is_listed(&self) -> bool {
        let nodes = self.site.engine.nodes();
        nodes
            .iter()
            .any(|node| node.id != self.other.id && !node.accepts_no_sessions)
    }

    /// Waits until the listeners are open or closed, as `open` says. Fails after the time `within`.
    /// Then asserts that discovery lists the node accordingly.
    async fn becomes(&self, open: bool, within: Duration) {
        let started = tokio::time::Instant::now();
        while self.is_open() != open {
            tokio::time::sleep(SECOND / 4).await;
            assert!(started.elapsed() <= within, "open: {}", !open);
        }
        // The node announces its state to discovery without delay.
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

async fn listeners_close_while_the_store_is_unavailable(link: EngineLink) {
    let node = Node::start(link, ServerConfig::default()).await;
    let mut alice = node.site.user("alice").await;
    tokio::time::pause();
    for _ in 0..3 {
        node.store.set_unavailable(true);
        node.becomes(false, MAX_TIME_TO_CLOSE).await;
        let answer = alice.run(Command::ListDevices).await.unwrap_err();
        assert!(answer.to_string().contains("TryAgain"), "{answer}");
        node.store.set_unavailable(false);
        node.becomes(true, MAX_TIME_TO_OPEN).await;
        // A store that does not answer counts like one that fails.
        let held = node.store.hold();
        node.becomes(false, MAX_TIME_TO_CLOSE).await;
        drop(held);
        node.becomes(true, MAX_TIME_TO_OPEN).await;
    }
    assert!(
        alice.ask(RequestKind::Ping).await.unwrap().is_ok(),
        "the gate does not close open connections"
    );
    tokio::time::resume();
    alice.run(Command::ListDevices).await.unwrap();
    node.site.peer().await.login("alice").await.unwrap();
}

async fn listeners_ignore_a_flapping_store(link: EngineLink) {
    let node = Node::start(link, ServerConfig::default()).await;
    for _ in 0..20 {
        node.store.set_unavailable(true);
        node.stays_open(2 * SECOND).await;
        node.store.set_unavailable(false);
        node.stays_open(3 * SECOND).await;
    }
    node.store.set_unavailable(true);
    node.becomes(false, MAX_TIME_TO_CLOSE).await;
    for _ in 0..40 {
        node.store.set_unavailable(false);
        tokio::time::sleep(SECOND / 2).await;
        node.store.set_unavailable(true);
        tokio::time::sleep(SECOND).await;
        assert!(!node.is_open());
    }
}

async fn listeners_stay_open_while_no_node_can_serve(link: EngineLink) {
    let mut node = Node::start(link, ServerConfig::default()).await;
    node.store.set_unavailable(true);
    // The other node becomes unable to serve a little later.
    node.stays_open(4 * SECOND).await;
    node.set_other_accepts_sessions(false).await;
    node.stays_open(60 * SECOND).await;
    assert!(!node.is_listed());
    node.set_other_accepts_sessions(true).await;
    node.becomes(false, MAX_TIME_TO_CLOSE).await;
    // No node can serve, so the listeners open, and clients receive the error.
    node.set_other_accepts_sessions(false).await;
    while !node.is_open() {
        tokio::time::sleep(SECOND / 4).await;
    }
    assert!(!node.is_listed());
    node.discovery.leave(node.other.id).await.unwrap();
    node.stays_open(60 * SECOND).await;
}

async fn listeners_close_while_the_clock_is_wrong(link: EngineLink) {
    let node = Node::start(link, ServerConfig::default()).await;
    let now = node.site.engine.now();
    node.store.set_time(Some(Timestamp(now.0 - 10 * 60 * 1000)));
    node.becomes(false, MAX_TIME_TO_CLOSE).await;
    node.store.set_time(Some(now));
    node.becomes(true, MAX_TIME_TO_OPEN).await;
    node.store.set_time(Some(Timestamp(now.0 - 10 * 1000)));
    node.stays_open(30 * SECOND).await;
}

async fn listeners_close_without_discovery_if_the_store_knows_other_nodes(link: EngineLink) {
    let memory = Arc::new(MemoryStore::new());
    let store = Arc::new(FaultyStore::new(memory.clone()));
    let engine = link.builder(store.clone()).build().await.unwrap();
    let server = Server::builder(link.service(&engine))
        .plain(ANY_PORT)
        .bind()
        .await
        .unwrap();
    let is_open = || std::net::TcpStream::connect(server.addresses()[0].1).is_ok();
    for alone in [true, false] {
        let other = match alone {
            true => None,
            false => Some(engine_on(link, memory.clone()).await),
        };
        tokio::time::sleep(5 * SECOND).await;
        store.set_unavailable(true);
        tokio::time::sleep(MAX_TIME_TO_CLOSE).await;
        assert_eq!(is_open(), alone);
        store.set_unavailable(false);
        tokio::time::sleep(MAX_TIME_TO_OPEN).await;
        assert!(is_open());
        drop(other);
    }
}

async fn listeners_stay_open_with_a_zero_unready_timeout(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.unready_timeout = Duration::ZERO;
    let node = Node::start(link, config).await;
    node.store.set_unavailable(true);
    node.stays_open(60 * SECOND).await;
    assert!(!node.is_listed());
}

async fn listener_rebinds_a_taken_address_once_it_is_free(link: EngineLink) {
    let node = Node::start(link, ServerConfig::default()).await;
    node.store.set_unavailable(true);
    node.becomes(false, MAX_TIME_TO_CLOSE).await;
    // Another listener takes the port with SO_REUSEADDR.
    let other_listener = std::net::TcpListener::bind(node.site.server.addresses()[0].1).unwrap();
    node.store.set_unavailable(false);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(node.site.server.stats().closed_listeners, 1);
    assert!(!node.is_listed(), "a node with one closed listener is not listed");
    drop(other_listener);
    while node.site.server.stats().closed_listeners > 0 {
        tokio::time::sleep(SECOND).await;
    }
    node.becomes(true, MAX_TIME_TO_OPEN).await;
    node.store.set_unavailable(true);
    node.becomes(false, MAX_TIME_TO_CLOSE).await;
    timeout(WAIT_TIMEOUT, node.site.server.drain(SECOND)).await.unwrap();
}

on_each_engine_link! {
    #[tokio::test]
    listeners_close_while_the_store_is_unavailable,
    #[tokio::test(start_paused = true)]
    listeners_ignore_a_flapping_store,
    #[tokio::test(start_paused = true)]
    listeners_stay_open_while_no_node_can_serve,
    #[tokio::test(start_paused = true)]
    listeners_close_while_the_clock_is_wrong,
    #[tokio::test(start_paused = true)]
    listeners_close_without_discovery_if_the_store_knows_other_nodes,
    #[tokio::test(start_paused = true)]
    listeners_stay_open_with_a_zero_unready_timeout,
    #[tokio::test(start_paused = true)]
    listener_rebinds_a_taken_address_once_it_is_free,
}
