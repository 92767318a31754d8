//! [`Cluster`].

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use tempfile::TempDir;

use crate::services::{MariaDb, Redis};
use crate::{Links, Node};

/// Limits that would count one machine's many users as one source, or one test's many logins as an attack, are off.
const SETTINGS: [(&str, &str); 7] = [
    // What is injected is complained about.
    ("CHAT_LOG__LEVEL", "error"),
    ("CHAT_ACCOUNTS__LOGIN_RATE", "100000/1s"),
    ("CHAT_LIMITS__MESSAGE_RATE", "100000/1s"),
    ("CHAT_LIMITS__MESSAGE_RATE_PER_USER", "100000/1s"),
    ("CHAT_LIMITS__PAGE_RATE_PER_USER", "100000/1s"),
    ("CHAT_LIMITS__MAX_AUTHENTICATED_PER_SOURCE", "100000"),
    ("CHAT_STORE__MAX_CONNECTIONS", "16"),
];

/// Nodes on one MariaDB and one Redis, all of them with the same key. Dropping it ends everything.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, each at the same place and address for the cluster's life.
    pub nodes: Vec<Node>,
    /// Their bus.
    pub redis: Redis,
    /// Their store.
    pub database: MariaDb,
    /// What leads to and from each node, if there is something in between.
    pub links: Arc<[Links]>,
    program: PathBuf,
    directory: TempDir,
    is_behind_proxy: bool,
    settings: Vec<(&'static str, &'static str)>,
}

impl Cluster {
    /// Starts a database, a bus and so many nodes of the server `program`.
    ///
    /// # Errors
    /// One of them cannot be started.
    pub fn start(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::with(program, nodes, 0, false, &[])
    }

    /// The same, with a network in between that misbehaves on command: each node has [`links`](Self::links) of its own.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn linked(program: &Path, nodes: usize, settings: &[(&'static str, &'static str)]) -> io::Result<Self> {
        Self::with(program, nodes, nodes, false, settings)
    }

    /// The same, with these settings in the nodes' environment.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn configured(program: &Path, nodes: usize, settings: &[(&'static str, &'static str)]) -> io::Result<Self> {
        Self::with(program, nodes, 0, false, settings)
    }

    /// The same, with nodes that are reached through a load balancer on this machine only.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn behind_proxy(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::with(program, nodes, 0, true, &[])
    }

    /// The same, with [`links`](Self::links) to the bus and to the store: the load balancer reaches the nodes themselves.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn linked_behind_proxy(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::with(program, nodes, nodes, true, &[])
    }

    fn with(
        program: &Path,
        nodes: usize,
        links: usize,
        is_behind_proxy: bool,
        settings: &[(&'static str, &'static str)],
    ) -> io::Result<Self> {
        let database = MariaDb::start(&[])?;
        // Nodes are not the administrator, who may write to what is read-only.
        database.sql("CREATE DATABASE chat; CREATE USER chat; GRANT ALL ON chat.* TO chat")?;
        let redis = Redis::start(&[])?;
        let links = (0..links).map(|_| Links::start(redis.address(), database.address()));
        let mut cluster = Self {
            nodes: Vec::with_capacity(nodes),
            links: links.collect::<io::Result<_>>()?,
            redis,
            database,
            program: program.to_owned(),
            directory: tempfile::tempdir()?,
            is_behind_proxy,
            settings: settings.to_vec(),
        };
        for _ in 0..nodes {
            cluster.add_node()?;
        }
        Ok(cluster)
    }

    /// Starts one more node. Of a cluster with links, one without.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn add_node(&mut self) -> io::Result<()> {
        let link = self.links.get(self.nodes.len());
        let database = link.map_or(self.database.address(), |link| link.database.address());
        let redis = link.map_or(self.redis.address(), |link| link.redis.address());
        let (database, redis) = (format!("mysql://chat@{database}/chat"), format!("redis://{redis}/"));
        // The first one makes it.
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
        if self.is_behind_proxy {
            settings.push(("CHAT_SERVER__TRUSTED_PROXIES", "127.0.0.1"));
        }
        let scheme = if self.is_behind_proxy { "sc1+proxy" } else { "sc1" };
        let node = Node::start(scheme, &self.program, &data, &settings)?;
        if let Some(link) = link {
            link.clients.aim(node.address());
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Where clients reach each node: through its link, if it has one.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let nodes = self.nodes.iter().map(Node::address);
        let reached = nodes.enumerate().map(|(number, node)| match self.links.get(number) {
            Some(link) => link.clients.address(),
            None => node,
        });
        reached.collect()
    }

    /// Somebody new, who is logged in on this node.
    ///
    /// # Errors
    /// The node refuses, or does not answer.
    pub async fn person(&self, node: usize, name: &str) -> io::Result<Peer> {
        let mut peer = Peer::connect(self.nodes[node].address(), self.fingerprint()).await?;
        peer.register(name).await?;
        peer.login(name).await?;
        Ok(peer)
    }

    /// Of the key that all nodes have.
    ///
    /// # Panics
    /// If there is no node.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.nodes[0].fingerprint()
    }
}
