//! Assembling a server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Listener};
use super::connections::Connections;
use super::handshake::Protocol;
use super::readiness_gate::{self, ReadinessGate};
use super::{RejectionLogs, Server, ServerConfig, Shared, keys};
use crate::auth::ConnectionGate;
use crate::engine::Engine;
use crate::secure::ServerKeys;
use crate::sync::Mutex;
use crate::transport::memory::{self, MemoryConnector};
use crate::transport::tcp::{TcpListener, TcpOptions};
#[cfg(feature = "tls")]
use crate::transport::tls::TlsAcceptor;

/// Connections that may wait to be accepted by a memory listener.
const MEMORY_BACKLOG: usize = 64;

/// A port to listen on.
#[derive(Debug)]
pub(super) struct Tcp {
    address: SocketAddr,
    protocol: Protocol,
    is_behind_proxy: bool,
}

/// Assembles a [`Server`].
#[derive(Debug)]
pub struct ServerBuilder {
    pub(super) engine: Engine,
    pub(super) config: ServerConfig,
    pub(super) tcp: Vec<Tcp>,
    pub(super) memory: Vec<(Listener, Protocol)>,
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen on {protocol}://{address}")]
    Address {
        /// What was to be spoken there.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is nothing to listen on.
    #[error("a server needs at least one listener")]
    NoListener,
}

impl ServerBuilder {
    /// Replaces the tunables.
    #[must_use]
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Listens for SC1 under these keys. Port 0 takes a free one.
    #[must_use]
    pub fn sc1(self, address: SocketAddr, keys: Arc<ServerKeys>) -> Self {
        self.listen(address, Protocol::Sc1(keys))
    }

    fn listen(mut self, address: SocketAddr, protocol: Protocol) -> Self {
        self.tcp.push(Tcp {
            address,
            protocol,
            is_behind_proxy: false,
        });
        self
    }

    /// The port that was named last is behind a load balancer: each connection has to come from one of
    /// [`ServerConfig::proxies`], and to begin with a [PROXY header](crate::transport::proxy), whose word on where it comes from is taken.
    #[must_use]
    pub fn behind_proxy(mut self) -> Self {
        if let Some(last) = self.tcp.last_mut() {
            last.is_behind_proxy = true;
        }
        self
    }

    /// Listens for TLS 1.3.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, address: SocketAddr, acceptor: Arc<TlsAcceptor>) -> Self {
        self.listen(address, Protocol::Tls(acceptor))
    }

    /// Listens without encryption. For loopback and tests: whoever is on the way reads passwords.
    #[must_use]
    pub fn plain(self, address: SocketAddr) -> Self {
        self.listen(address, Protocol::Plain)
    }

    /// Listens inside the process, without encryption; the connector makes connections.
    #[must_use]
    pub fn memory(mut self) -> (Self, MemoryConnector) {
        let (connector, listener) = memory::listener(MEMORY_BACKLOG);
        self.memory.push((Listener::Memory(listener), Protocol::Plain));
        (self, connector)
    }

    /// Binds every listener, then begins to accept, on the current tokio runtime.
    ///
    /// # Errors
    /// [`BindError`]; nothing listens then.
    pub async fn bind(self) -> Result<Server, BindError> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for Tcp {
            address,
            protocol,
            is_behind_proxy,
        } in self.tcp
        {
            let listener = TcpListener::bind(address, TcpOptions::default()).map_err(|source| BindError::Address {
                protocol: protocol.name(),
                address,
                source,
            })?;
            addresses.push((protocol.name(), listener.local_addr()));
            let listener = if is_behind_proxy {
                Listener::Proxied(listener)
            } else {
                Listener::Tcp(listener)
            };
            listeners.push((listener, protocol));
        }
        listeners.extend(self.memory);
        if listeners.is_empty() {
            return Err(BindError::NoListener);
        }
        let seed = u64::from_ne_bytes(
            uuid::Uuid::new_v4().into_bytes()[..8]
                .try_into()
                .expect("8 of 16 bytes"),
        );
        let shared = Arc::new(Shared {
            session: Arc::new(self.config.session.clone()),
            gate: ConnectionGate::new(self.config.connection_limits.clone(), seed),
            handshakes: Mutex::default(),
            config: self.config,
            engine: self.engine,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            readiness_gate: ReadinessGate::new(),
            connections: Arc::new(Connections::new()),
            panics: AtomicU64::new(0),
            rejections: RejectionLogs::default(),
        });
        if !addresses.is_empty() && !shared.config.unready_timeout.is_zero() {
            let watching = readiness_gate::run(Arc::clone(&shared));
            shared
                .tasks
                .spawn(shared.draining.clone().run_until_cancelled_owned(watching));
        }
        let mut renewed: Vec<Arc<ServerKeys>> = Vec::new();
        for (listener, protocol) in listeners {
            if let Protocol::Sc1(own) = &protocol
                && !renewed.iter().any(|known| Arc::ptr_eq(known, own))
            {
                renewed.push(Arc::clone(own));
            }
            let accepting = accept::run(listener, protocol, Arc::clone(&shared));
            shared
                .tasks
                .spawn(shared.draining.clone().run_until_cancelled_owned(accepting));
        }
        for own in renewed {
            shared
                .tasks
                .spawn(shared.draining.clone().run_until_cancelled_owned(keys::renew(own)));
        }
        Ok(Server { shared, addresses })
    }
}
