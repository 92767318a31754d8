//! [`Cluster`]: nodes with their store (MariaDB) and their bus (Redis).

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use tempfile::TempDir;

use crate::services::{MariaDb, Redis};
use crate::{NodeLinks, ServerProcess};

/// Settings of all nodes. Most of them raise limits that a test would exceed: its users connect
/// from one machine, log in often, and send and read quickly.
const SETTINGS: [(&str, &str); 7] = [
    // Injected faults cause warnings.
    ("CHAT_LOG__LEVEL", "error"),
    ("CHAT_ACCOUNTS__LOGIN_RATE", "100000/1s"),
    ("CHAT_LIMITS__MESSAGE_RATE_PER_CONNECTION", "100000/1s"),
    ("CHAT_LIMITS__MESSAGE_RATE_PER_USER", "100000/1s"),
    ("CHAT_LIMITS__PAGE_RATE", "100000/1s"),
    ("CHAT_LIMITS__MAX_AUTHENTICATED_PER_SOURCE", "100000"),
    // With the default of 32, sixteen nodes could exceed the 500 connections of `MariaDb`.
    ("CHAT_STORE__MAX_CONNECTIONS", "16"),
];

/// Nodes with one MariaDB, one Redis and one key. Dropping the cluster ends all processes.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes. A node keeps its index and its address when it is restarted.
    pub nodes: Vec<ServerProcess>,
    /// Bus of the nodes.
    pub redis: Redis,
    /// Store of the nodes.
    pub database: MariaDb,
    /// Fault-injecting TCP proxies between each node that the cluster was started with and the
    /// node's database, bus and clients; empty unless the cluster was started with
    /// [`linked`](Self::linked) or [`linked_behind_balancer`](Self::linked_behind_balancer).
    pub links: Arc<[NodeLinks]>,
    program: PathBuf,
    directory: TempDir,
    is_behind_balancer: bool,
    settings: Vec<(&'static str, &'static str)>,
}

impl Cluster {
    /// Starts a database, a bus and `nodes` nodes of the server `program`.
    ///
    /// # Errors
    /// A process or a proxy cannot be started, or the database cannot be set up.
    pub fn start(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::start_with(program, nodes, 0, false, &[])
    }

    /// Like [`configured`](Self::configured), with [`links`](Self::links) on all connections of
    /// each node.
    ///
    /// # Errors
    /// A process or a proxy cannot be started, or the database cannot be set up.
    pub fn linked(program: &Path, nodes: usize, settings: &[(&'static str, &'static str)]) -> io::Result<Self> {
        Self::start_with(program, nodes, nodes, false, settings)
    }

    /// Like [`start`](Self::start), with `settings` in the environment of the nodes.
    ///
    /// # Errors
    /// A process or a proxy cannot be started, or the database cannot be set up.
    pub fn configured(program: &Path, nodes: usize, settings: &[(&'static str, &'static str)]) -> io::Result<Self> {
        Self::start_with(program, nodes, 0, false, settings)
    }

    /// Like [`start`](Self::start), with nodes that accept connections only from a load balancer on
    /// this machine.
    ///
    /// # Errors
    /// A process or a proxy cannot be started, or the database cannot be set up.
    pub fn behind_balancer(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::start_with(program, nodes, 0, true, &[])
    }

    /// Like [`behind_balancer`](Self::behind_balancer), with [`links`](Self::links) to the bus and
    /// to the store. The load balancer connects to the nodes directly.
    ///
    /// # Errors
    /// A process or a proxy cannot be started, or the database cannot be set up.
    pub fn linked_behind_balancer(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::start_with(program, nodes, nodes, true, &[])
    }

    fn start_with(
        program: &Path,
        nodes: usize,
        links: usize,
        is_behind_balancer: bool,
        settings: &[(&'static str, &'static str)],
    ) -> io::Result<Self> {
        let database = MariaDb::start(&[])?;
        // Nodes do not use the administrator's account, which may write to a read-only database.
        database.sql("CREATE DATABASE chat; CREATE USER chat; GRANT ALL ON chat.* TO chat")?;
        let redis = Redis::start(&[])?;
        let links = (0..links).map(|_| NodeLinks::start(redis.address(), database.address()));
        let mut cluster = Self {
            nodes: Vec::with_capacity(nodes),
            links: links.collect::<io::Result<_>>()?,
            redis,
            database,
            program: program.to_owned(),
            directory: tempfile::tempdir()?,
            is_behind_balancer,
            settings: settings.to_vec(),
        };
        for _ in 0..nodes {
            cluster.add_node()?;
        }
        Ok(cluster)
    }

    /// Starts one more node. A node that is added after the start of the cluster has no links.
    ///
    /// # Errors
    /// The node cannot be started.
    pub fn add_node(&mut self) -> io::Result<()> {
        let link = self.links.get(self.nodes.len());
        let database = link.map_or(self.database.address(), |link| link.database.address());
        let redis = link.map_or(self.redis.address(), |link| link.redis.address());
        let (database, redis) = (format!("mysql://chat@{database}/chat"), format!("redis://{redis}/"));
        // The first node creates the key file.
        let key = self.directory.path().join("identity.pem");
        let key = key.to_string_lossy();
        let mut settings = SETTINGS.to_vec();
        settings.extend([
            ("CHAT_STORE__URL", database.as_str()),
            ("CHAT_BUS__URL", &redis),
            ("CHAT_IDENTITY__KEY_FILE", &key),
        ]);
        settings.extend_from_slice(&self.settings);
        let data = self.directory.path().join(format!("node-{}", self.nodes.len()));
        if self.is_behind_balancer {
            settings.push(("CHAT_SERVER__TRUSTED_PROXIES", "127.0.0.1"));
        }
        let scheme = if self.is_behind_balancer { "sc1+proxy" } else { "sc1" };
        let node = ServerProcess::start_on(scheme, &self.program, &data, &settings)?;
        if let Some(link) = link {
            link.clients.set_target(node.address());
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Returns the address at which clients or the load balancer reach each node: that of its proxy
    /// for clients, if it has links. Only with
    /// [`linked_behind_balancer`](Self::linked_behind_balancer), the load balancer uses the
    /// addresses of [`nodes`](Self::nodes) instead.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let nodes = self.nodes.iter().map(ServerProcess::address);
        let addresses = nodes.enumerate().map(|(number, node)| match self.links.get(number) {
            Some(link) => link.clients.address(),
            None => node,
        });
        addresses.collect()
    }

    /// Registers a user and logs the user in at `node`, an index in [`nodes`](Self::nodes).
    /// Connects to the node directly, even if the node has links.
    ///
    /// # Errors
    /// The node refuses a request or does not answer.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub async fn new_user(&self, node: usize, name: &str) -> io::Result<Peer> {
        let mut peer = Peer::connect(self.nodes[node].address(), self.fingerprint()).await?;
        peer.register(name).await?;
        peer.login(name).await?;
        Ok(peer)
    }

    /// Returns the fingerprint of the key that all nodes share.
    ///
    /// # Panics
    /// If the cluster has no nodes.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.nodes[0].fingerprint()
    }
}
