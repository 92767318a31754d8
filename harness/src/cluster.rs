//! [`Cluster`].

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chat_core::secure::Fingerprint;
use chat_core::testkit::ServerProcess;
use tempfile::TempDir;

use crate::services::{MariaDb, Redis};

/// Limits that would count one machine's many users as one source, or one test's many logins as an attack, are off.
const SETTINGS: [(&str, &str); 5] = [
    // What is injected is complained about.
    ("CHAT_LOG__LEVEL", "error"),
    ("CHAT_ACCOUNTS__LOGINS", "100000/1s"),
    ("CHAT_LIMITS__MESSAGES", "100000/1s"),
    ("CHAT_LIMITS__AUTHENTICATED_PER_SOURCE", "100000"),
    ("CHAT_STORE__CONNECTIONS", "16"),
];

/// Nodes on one MariaDB and one Redis, all of them with the same key. Dropping it ends everything.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, each at the same place and address for the cluster's life.
    pub nodes: Vec<ServerProcess>,
    /// Their bus.
    pub redis: Redis,
    /// Their store.
    pub database: MariaDb,
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
        Self::with(program, nodes, false, &[])
    }

    /// The same, with these settings in the nodes' environment.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn configured(program: &Path, nodes: usize, settings: &[(&'static str, &'static str)]) -> io::Result<Self> {
        Self::with(program, nodes, false, settings)
    }

    /// The same, with nodes that are reached through a load balancer on this machine only.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn behind_proxy(program: &Path, nodes: usize) -> io::Result<Self> {
        Self::with(program, nodes, true, &[])
    }

    fn with(
        program: &Path,
        nodes: usize,
        is_behind_proxy: bool,
        settings: &[(&'static str, &'static str)],
    ) -> io::Result<Self> {
        let database = MariaDb::start(&[])?;
        database.sql("CREATE DATABASE chat")?;
        let mut cluster = Self {
            nodes: Vec::with_capacity(nodes),
            redis: Redis::start(&[])?,
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

    /// Starts one more node.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn add_node(&mut self) -> io::Result<()> {
        let database = self.database.url("chat");
        let redis = self.redis.url();
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
            settings.push(("CHAT_SERVER__PROXIES", "127.0.0.1"));
        }
        let scheme = if self.is_behind_proxy { "sc1+proxy" } else { "sc1" };
        self.nodes
            .push(ServerProcess::start_on(scheme, &self.program, &data, &settings)?);
        Ok(())
    }

    /// Where each node listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(ServerProcess::address).collect()
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
