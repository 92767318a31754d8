//! [`Links`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::proxy::Proxy;

/// Whom a node talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// The bus.
    Redis,
    /// The store.
    Database,
    /// Bus and store. Clients still reach it.
    Both,
    /// Those who connect to it.
    Clients,
}

/// What leads to and from one node: a network of its own, which misbehaves alone.
#[derive(Debug)]
pub struct Links {
    /// From the node to the bus.
    pub redis: Proxy,
    /// From the node to the store.
    pub database: Proxy,
    /// From clients to the node.
    pub clients: Proxy,
    /// Held while the node cannot be started, or is being started.
    busy: Mutex<()>,
}

impl Links {
    /// For a node that is yet to start.
    pub(crate) fn start(redis: SocketAddr, database: SocketAddr) -> io::Result<Self> {
        // Aimed when the node has a port; nobody knows of it before.
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self {
            redis: Proxy::start(redis)?,
            database: Proxy::start(database)?,
            clients: Proxy::start(nowhere)?,
            busy: Mutex::new(()),
        })
    }

    /// Those that lead there.
    #[must_use]
    pub fn to(&self, far: Far) -> Vec<&Proxy> {
        match far {
            Far::Redis => vec![&self.redis],
            Far::Database => vec![&self.database],
            Far::Both => vec![&self.redis, &self.database],
            Far::Clients => vec![&self.clients],
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> [&Proxy; 3] {
        [&self.redis, &self.database, &self.clients]
    }

    /// Whoever kills a node and starts it again, and whoever breaks what it needs to start, hold this meanwhile.
    pub(crate) fn hold(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless somebody else holds it.
    pub(crate) fn try_hold(&self) -> Option<MutexGuard<'_, ()>> {
        match self.busy.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
