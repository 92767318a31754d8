//! [`NodeLinks`]: proxies on all connections of one node.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::proxy::Proxy;

/// Programs at the other end of a node's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Redis, the bus.
    Redis,
    /// MariaDB, the store.
    Database,
    /// Bus and store, but not the clients.
    RedisAndDatabase,
    /// Clients, which connect to the node.
    Clients,
}

/// Fault-injecting proxies on all connections of one node, so that its network can fail alone.
#[derive(Debug)]
pub struct NodeLinks {
    /// Proxy of the connections from the node to the bus.
    pub redis: Proxy,
    /// Proxy of the connections from the node to the store.
    pub database: Proxy,
    /// Proxy of the connections from clients to the node.
    pub clients: Proxy,
    /// Locked while the node is being restarted, and while its connections to the store are
    /// impaired. So the node is not restarted while it might be unable to reach the store.
    start_lock: Mutex<()>,
}

impl NodeLinks {
    /// Starts the proxies of a node that does not run yet. `redis` and `database` are the addresses
    /// of its servers.
    pub(crate) fn start(redis: SocketAddr, database: SocketAddr) -> io::Result<Self> {
        // The proxy for clients gets its target once the node has a port. No client knows the proxy
        // before that.
        let no_target = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self {
            redis: Proxy::start(redis)?,
            database: Proxy::start(database)?,
            clients: Proxy::start(no_target)?,
            start_lock: Mutex::new(()),
        })
    }

    /// Returns the proxies between the node and `peers`.
    #[must_use]
    pub fn to(&self, peers: Peers) -> Vec<&Proxy> {
        match peers {
            Peers::Redis => vec![&self.redis],
            Peers::Database => vec![&self.database],
            Peers::RedisAndDatabase => vec![&self.redis, &self.database],
            Peers::Clients => vec![&self.clients],
        }
    }

    /// Returns all proxies.
    #[must_use]
    pub fn all(&self) -> [&Proxy; 3] {
        [&self.redis, &self.database, &self.clients]
    }

    /// Waits for `start_lock` and takes it. A caller must hold the lock while it restarts the node,
    /// and while it impairs the connections from the node to the store.
    pub(crate) fn lock_start(&self) -> MutexGuard<'_, ()> {
        self.start_lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock of [`lock_start`](Self::lock_start), or returns `None` if another caller
    /// holds the lock.
    pub(crate) fn try_lock_start(&self) -> Option<MutexGuard<'_, ()>> {
        match self.start_lock.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
