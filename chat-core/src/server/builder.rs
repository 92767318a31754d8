//! Listeners and configuration of a server: [`ServerBuilder`].

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
use super::{Server, ServerConfig, Shared, ThrottledLogs};
use crate::auth::ConnectionGate;
use crate::secure::ServerKeys;
use crate::service::ChatService;
use crate::sync::Mutex;
use crate::transport::tcp::{TcpListener, TcpOptions};
#[cfg(feature = "tls")]
use crate::transport::tls::TlsAcceptor;
use crate::transport::{self, MemoryConnector};

/// Maximum number of connections that wait to be accepted by a memory listener.
const MEMORY_BACKLOG: usize = 64;

/// A TCP listener to bind.
#[derive(Debug)]
pub(super) struct UnboundListener {
    address: SocketAddr,
    protocol: Protocol,
    is_behind_proxy: bool,
}

/// Builder of a [`Server`], with its listeners and its configuration.
#[derive(Debug)]
pub struct ServerBuilder {
    pub(super) service: Arc<dyn ChatService>,
    pub(super) config: ServerConfig,
    pub(super) tcp: Vec<UnboundListener>,
    pub(super) memory: Vec<(Listener, Protocol)>,
}

/// Error of [`ServerBuilder::bind`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The server cannot listen on an address.
    #[error("cannot listen on {protocol}://{address}")]
    Address {
        /// Protocol of the listener: `sc1`, `tls` or `plain`.
        protocol: &'static str,
        /// Address of the listener.
        address: SocketAddr,
        /// Error of the operating system.
        #[source]
        source: io::Error,
    },
}

impl ServerBuilder {
    /// Sets the limits and deadlines. Default: [`ServerConfig::default`].
    #[must_use]
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a listener for SC1. Port 0 takes any free port. The server rotates the static key of
    /// `keys` each day.
    #[must_use]
    pub fn sc1(self, address: SocketAddr, keys: Arc<ServerKeys>) -> Self {
        self.listen(address, Protocol::Sc1(keys))
    }

    fn listen(mut self, address: SocketAddr, protocol: Protocol) -> Self {
        self.tcp.push(UnboundListener {
            address,
            protocol,
            is_behind_proxy: false,
        });
        self
    }

    /// Declares that the TCP listener added last is behind a load balancer. Has no effect before a
    /// TCP listener was added. Each connection to it must come from one of
    /// [`ServerConfig::trusted_proxies`] and start with a PROXY header, in which the load balancer
    /// reports the client's address. If the header contains no TCP address, the load balancer
    /// counts as the client.
    #[must_use]
    pub fn behind_proxy(mut self) -> Self {
        if let Some(last) = self.tcp.last_mut() {
            last.is_behind_proxy = true;
        }
        self
    }

    /// Adds a listener for TLS 1.3. Port 0 takes any free port.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(self, address: SocketAddr, acceptor: Arc<TlsAcceptor>) -> Self {
        self.listen(address, Protocol::Tls(acceptor))
    }

    /// Adds a listener without encryption, for loopback addresses and tests: on any other network,
    /// passwords can be read in transit. Port 0 takes any free port.
    #[must_use]
    pub fn plain(self, address: SocketAddr) -> Self {
        self.listen(address, Protocol::Plain)
    }

    /// Adds a listener within this process, without encryption. Clients connect through the
    /// returned connector.
    #[must_use]
    pub fn memory(mut self) -> (Self, MemoryConnector) {
        let (connector, listener) = transport::listener(MEMORY_BACKLOG);
        self.memory.push((Listener::Memory(listener), Protocol::Plain));
        (self, connector)
    }

    /// Binds every listener, then starts to accept connections on the current tokio runtime. A
    /// server without listeners serves only the streams that the application passes to
    /// [`Server::serve_stream`] or [`Server::serve_sc1_stream`].
    ///
    /// # Errors
    /// [`BindError`]; no listener stays bound.
    pub async fn bind(self) -> Result<Server, BindError> {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for UnboundListener {
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
        let shared = Arc::new(Shared {
            session_config: Arc::new(self.config.session.clone()),
            connection_gate: ConnectionGate::new(self.config.connection_limits.clone(), random_seed()),
            handshakes: Mutex::default(),
            config: self.config,
            service: self.service,
            tasks: TaskTracker::new(),
            streams: TaskTracker::new(),
            draining: CancellationToken::new(),
            readiness_gate: ReadinessGate::new(),
            connections: Arc::new(Connections::new()),
            rotated_keys: Mutex::default(),
            panics: AtomicU64::new(0),
            throttled: ThrottledLogs::default(),
        });
        if !addresses.is_empty() && !shared.config.unready_timeout.is_zero() {
            shared.spawn_until_drain("readiness gate", readiness_gate::run(Arc::clone(&shared)));
        }
        for (listener, protocol) in listeners {
            if let Protocol::Sc1(keys) = &protocol {
                shared.ensure_rotation(keys);
            }
            shared.spawn_until_drain("accept loop", accept::run(listener, protocol, Arc::clone(&shared)));
        }
        Ok(Server { shared, addresses })
    }
}

fn random_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
