//! [`Service`]: a chat service of two nodes in this process, for tests of the programs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use chat_core::bus::MemoryBus;
use chat_core::engine::Engine;
use chat_core::rate::Rate;
use chat_core::secure::{ServerIdentity, ServerKeys};
use chat_core::server::{Server, ServerConfig};
use chat_core::store::MemoryStore;

/// Two nodes with a store and a bus in memory. Dropping the service ends the nodes.
pub(crate) struct Service {
    nodes: Vec<(Engine, Server)>,
    /// Fingerprint of the key of both nodes, as text.
    pub(crate) pin: String,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let keys = Arc::new(ServerKeys::new(ServerIdentity::generate(2048).unwrap(), now).unwrap());
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(MemoryBus::new()));
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let engine = Engine::builder(store.clone()).bus(bus.clone()).build().await.unwrap();
            let mut config = ServerConfig::default();
            (config.session.message_rate_per_connection, config.session.packet_rate) =
                (Rate::UNLIMITED, Rate::UNLIMITED);
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let server = Server::builder(engine.clone()).config(config).sc1(any, keys.clone());
            nodes.push((engine, server.bind().await.unwrap()));
        }
        Self {
            nodes,
            pin: keys.fingerprint().to_string(),
        }
    }

    /// Returns the address of each node.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|(_, server)| server.addresses()[0].1).collect()
    }
}
