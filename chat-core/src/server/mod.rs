//! The network side of an engine: listeners, connections and their tasks.
//!
//! A [`Server`] serves connections for a [`ChatService`]. A process can have several servers, each
//! with its own listeners, limits and keys. A server does not own its engine: shut the engine down
//! after the server.
//!
//! Connections come from the server's own listeners, each of them served in its own task, or from
//! the application, which passes streams that it accepted itself to [`Server::serve_stream`] and
//! polls the future that serves them.

mod accept;
mod builder;
mod config;
mod connection;
mod connections;
mod handshake;
mod key_rotation;
mod log_throttle;
mod readiness_gate;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::router::OutboxLimits;
pub use crate::session::SessionConfig;
pub use builder::{BindError, ServerBuilder};
pub use config::ServerConfig;

use self::connections::{Connections, Phase};
use self::handshake::Protocol;
use self::log_throttle::LogThrottle;
use self::readiness_gate::ReadinessGate;
use crate::auth::ConnectionGate;
use crate::panics;
use crate::rate::Bucket;
use crate::secure::ServerKeys;
use crate::service::ChatService;
use crate::sync::Mutex;
use crate::time::now;
use crate::transport::PeerAddr;

/// Counts of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Open connections, including those that have not logged in.
    pub connections: u32,
    /// Connections that ended by a panic since the start. Each panic is a defect.
    pub panics: u64,
    /// TCP listeners that are closed at present, because the node cannot serve or the listener
    /// cannot be opened again yet; see [`ServerConfig::unready_timeout`].
    pub closed_listeners: u32,
}

/// State that the tasks of a server share.
#[derive(Debug)]
struct Shared {
    service: Arc<dyn ChatService>,
    config: ServerConfig,
    session_config: Arc<SessionConfig>,
    /// Limits on connections per source and before login.
    connection_gate: ConnectionGate,
    /// Consumption of [`ServerConfig::handshake_rate`].
    handshakes: Mutex<Bucket>,
    /// Tasks that the server spawned.
    tasks: TaskTracker,
    /// Connections that the application serves in its own futures. Only the application polls them,
    /// so the shutdown of the server waits for them only for a limited time.
    streams: TaskTracker,
    /// Ends the tasks that serve no connection, and connections that wait for a PROXY header.
    draining: CancellationToken,
    readiness_gate: ReadinessGate,
    connections: Arc<Connections>,
    /// SC1 keys that have a task that rotates them.
    rotated_keys: Mutex<Vec<Arc<ServerKeys>>>,
    /// Number of connections that ended by a panic.
    panics: AtomicU64,
    throttled: ThrottledLogs,
}

/// Throttles of the warnings about connections, logins and listeners that fail, one for each cause.
#[derive(Debug, Default)]
struct ThrottledLogs {
    /// The server has [`ServerConfig::max_connections`] connections.
    server_full: LogThrottle,
    /// Too many connections have not logged in.
    guests_full: LogThrottle,
    /// One source has too many sessions.
    source_full: LogThrottle,
    /// Logins or registrations exceed a limit on attempts.
    attempts: LogThrottle,
    /// The source of a connection to a port for load balancers is not a trusted proxy.
    untrusted_proxies: LogThrottle,
    /// The operating system cannot accept connections.
    accept_failed: LogThrottle,
    /// A listener that the readiness gate closed cannot be opened again.
    listen_failed: LogThrottle,
}

impl Shared {
    /// Charges one handshake to [`ServerConfig::handshake_rate`]. If the rate is exceeded, charges
    /// nothing and returns the time until the next handshake is admitted.
    fn admit_handshake(&self, now: Instant) -> Result<(), Duration> {
        let mut bucket = self.handshakes.lock();
        bucket.check(now, &self.config.handshake_rate)?;
        bucket.charge(now, &self.config.handshake_rate);
        Ok(())
    }

    fn retry_after_ms(&self) -> u32 {
        u32::try_from(self.config.retry_after.as_millis()).unwrap_or(u32::MAX)
    }

    /// Spawns a task that runs until the server drains. A panic of the task is logged with `name`.
    fn spawn_until_drain(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            panics::run_worker(name, task).await;
        };
        self.tasks.spawn(self.draining.clone().run_until_cancelled_owned(task));
    }

    /// Starts the daily rotation of the static key of `keys`, unless it was started before.
    fn ensure_rotation(&self, keys: &Arc<ServerKeys>) {
        let mut rotated = self.rotated_keys.lock();
        if !rotated.iter().any(|known| Arc::ptr_eq(known, keys)) {
            rotated.push(Arc::clone(keys));
            self.spawn_until_drain("key rotation", key_rotation::rotate_daily(Arc::clone(keys)));
        }
    }
}

/// Network server of a [`ChatService`], such as an [`Engine`](crate::engine::Engine).
///
/// Dropping the server ends every connection at once; [`Server::drain`] lets clients finish.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Server {
    /// Starts to assemble a server for `service`: an [`Engine`](crate::engine::Engine) or any
    /// `Arc<dyn ChatService>`.
    #[must_use]
    pub fn builder(service: impl Into<Arc<dyn ChatService>>) -> ServerBuilder {
        ServerBuilder {
            service: service.into(),
            config: ServerConfig::default(),
            tcp: Vec::new(),
            memory: Vec::new(),
        }
    }

    /// Returns the protocol (`sc1`, `tls` or `plain`) and the address of each TCP listener, with
    /// the port that was bound.
    #[must_use]
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// Returns the server's counts.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections: u32::try_from(self.shared.connections.len()).unwrap_or(u32::MAX),
            panics: self.shared.panics.load(Ordering::Relaxed),
            closed_listeners: self.shared.readiness_gate.closed_listeners(),
        }
    }

    /// Serves a connection that the application accepted itself (a WebSocket, a Unix socket, a QUIC
    /// stream) until the connection ends. The stream carries packets without encryption, so a lower
    /// layer must encrypt and authenticate, as TLS does;
    /// [`serve_sc1_stream`](Self::serve_sc1_stream) is for streams without such a layer.
    ///
    /// `peer` is the address of the client. Limits per source address, login throttling and logs
    /// use it, so do not pass the address of a proxy. With [`PeerAddr::Local`], the connection is
    /// exempt from limits per source, unless
    /// [`ConnectionLimits::exempt_loopback`](crate::auth::ConnectionLimits::exempt_loopback) is
    /// false.
    ///
    /// The connection is subject to all limits and deadlines of this server and to its drain, like
    /// a connection from a listener. If the server admits no further connection of this source, the
    /// stream is closed at once. The returned future does not borrow `self`. It does nothing until
    /// it is polled: the connection counts from the first poll until the future completes or is
    /// dropped.
    ///
    /// # Message-oriented streams
    /// The packets of the protocol are framed by length, so a message of a WebSocket may hold any
    /// part of the byte stream. [`MessageStream`](crate::transport::MessageStream) converts a
    /// stream of binary messages to a byte stream.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection immediately. Changes that have started continue.
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// # use chat_core::{engine::Engine, server::Server, store::MemoryStore, transport::PeerAddr};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
    /// let server = Server::builder(engine.clone()).bind().await?; // without listeners
    /// let (ours, theirs) = tokio::io::duplex(64 * 1024);
    /// let serving = tokio::spawn(server.serve_stream(ours, PeerAddr::Local));
    /// drop(theirs); // the client disconnects
    /// serving.await?;
    /// # engine.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serve_stream<S>(&self, stream: S, peer: PeerAddr) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        self.serve(stream, peer, Protocol::Plain)
    }

    /// Like [`serve_stream`](Self::serve_stream), for a stream that is not encrypted: client and
    /// server encrypt it with SC1. The server rotates the static key of `keys` each day.
    ///
    /// # Cancel safety
    /// As that of [`serve_stream`](Self::serve_stream).
    pub fn serve_sc1_stream<S>(
        &self,
        stream: S,
        peer: PeerAddr,
        keys: &Arc<ServerKeys>,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        self.serve(stream, peer, Protocol::Sc1(Arc::clone(keys)))
    }

    /// Stops accepting connections, asks the clients to reconnect (to any node), answers the
    /// requests that are in flight, and closes the connections. Connections that are still open
    /// after `grace` are cut off. The futures of [`serve_stream`](Self::serve_stream) and
    /// [`serve_sc1_stream`](Self::serve_sc1_stream) then complete at their next poll, for which
    /// `drain` does not wait. Idempotent.
    pub async fn drain(&self, grace: Duration) {
        let Shared { tasks, streams, .. } = &*self.shared;
        self.shared.draining.cancel();
        self.shared.connections.advance(Phase::Draining);
        tasks.close();
        streams.close();
        let ended = async {
            tasks.wait().await;
            streams.wait().await;
        };
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!(
                connections = self.stats().connections,
                "the grace period of the drain has passed; the remaining connections were cut off"
            );
            self.shared.connections.advance(Phase::Killed);
            tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.connections.advance(Phase::Killed);
    }
}
