//! The driver: where transports, the secure channel, sessions and the engine meet tokio's tasks.
//!
//! A [`Server`] accepts connections for an [`Engine`] and serves each in one task. Several servers run in one process, each with
//! its own listeners, limits and keys; nothing is global. The engine is not the server's: shut it down after the server.

mod accept;
mod config;
mod connection;
mod handshake;
mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use config::ServerConfig;

use self::accept::Listener;
use self::handshake::Protocol;
use crate::auth::{Bucket, ConnectionGate};
use crate::engine::Engine;
use crate::secure::ServerKeys;
use crate::session::SessionConfig;
use crate::transport::memory::{self, MemoryConnector};
use crate::transport::tcp::{TcpListener, TcpOptions};
#[cfg(feature = "tls")]
use crate::transport::tls::TlsAcceptor;

/// Connections that may wait to be accepted by a memory listener.
const MEMORY_BACKLOG: usize = 64;
/// How often a server looks whether its SC1 key is due for renewal.
const LOOK_AT_KEYS: Duration = Duration::from_secs(600);

/// Assembles a [`Server`].
#[derive(Debug)]
pub struct ServerBuilder {
    engine: Engine,
    config: ServerConfig,
    tcp: Vec<(SocketAddr, Protocol)>,
    memory: Vec<(Listener, Protocol)>,
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

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Open connections, guests included.
    pub connections: u32,
    /// Connections that ended by a panic since the start: a defect each.
    pub panics: u64,
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
    pub fn sc1(mut self, address: SocketAddr, keys: Arc<ServerKeys>) -> Self {
        self.tcp.push((address, Protocol::Sc1(keys)));
        self
    }

    /// Listens for TLS 1.3.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, address: SocketAddr, acceptor: Arc<TlsAcceptor>) -> Self {
        self.tcp.push((address, Protocol::Tls(acceptor)));
        self
    }

    /// Listens without encryption. For loopback and tests: whoever is on the way reads passwords.
    #[must_use]
    pub fn plain(mut self, address: SocketAddr) -> Self {
        self.tcp.push((address, Protocol::Plain));
        self
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
        for (address, protocol) in self.tcp {
            let failed = |source| BindError::Address {
                protocol: protocol.name(),
                address,
                source,
            };
            let listener = TcpListener::bind(address, TcpOptions::default()).map_err(failed)?;
            addresses.push((protocol.name(), listener.local_addr().map_err(failed)?));
            listeners.push((Listener::Tcp(listener), protocol));
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
        let session = connection::session_config(&self.config, self.engine.store_epoch());
        let shared = Arc::new(Shared {
            session: Arc::new(session),
            gate: ConnectionGate::new(self.config.connections.clone(), seed),
            handshakes: Mutex::default(),
            config: self.config,
            engine: self.engine,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            kill: CancellationToken::new(),
            open: AtomicU32::new(0),
            panics: AtomicU64::new(0),
        });
        let mut keys: Vec<Arc<ServerKeys>> = Vec::new();
        for (listener, protocol) in listeners {
            if let Protocol::Sc1(own) = &protocol
                && !keys.iter().any(|known| Arc::ptr_eq(known, own))
            {
                keys.push(Arc::clone(own));
            }
            let accepting = accept::run(listener, protocol, Arc::clone(&shared));
            shared
                .tasks
                .spawn(shared.draining.clone().run_until_cancelled_owned(accepting));
        }
        for keys in keys {
            shared
                .tasks
                .spawn(shared.draining.clone().run_until_cancelled_owned(renew(keys)));
        }
        Ok(Server { shared, addresses })
    }
}

/// Gives the channel a new static key each day.
async fn renew(keys: Arc<ServerKeys>) {
    loop {
        tokio::time::sleep(LOOK_AT_KEYS).await;
        let unix_now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        if !keys.rotation_due(unix_now) {
            continue;
        }
        let rotated = tokio::task::spawn_blocking({
            let keys = Arc::clone(&keys);
            move || keys.rotate(unix_now)
        });
        match rotated.await {
            Ok(Ok(())) => tracing::info!("the key of sc1:// was renewed"),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "cannot renew the key of sc1://; the present one is used until it expires"
                );
            }
            Err(_) => {}
        }
    }
}

/// What the tasks of a server share.
#[derive(Debug)]
struct Shared {
    engine: Engine,
    config: ServerConfig,
    session: Arc<SessionConfig>,
    gate: ConnectionGate,
    handshakes: Mutex<Bucket>,
    tasks: TaskTracker,
    /// Nobody new is let in; who is there is told to leave.
    draining: CancellationToken,
    /// Everything ends where it stands.
    kill: CancellationToken,
    open: AtomicU32,
    panics: AtomicU64,
}

impl Shared {
    /// Whether there is time for one more key agreement; otherwise when there is.
    fn admit_handshake(&self, now: Instant) -> Result<(), Duration> {
        let mut bucket = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.check(now, &self.config.handshakes)?;
        bucket.add(now, &self.config.handshakes);
        Ok(())
    }

    fn retry_after_ms(&self) -> u32 {
        u32::try_from(self.config.retry_after.as_millis()).unwrap_or(u32::MAX)
    }
}

/// Serves an [`Engine`] to the network. Dropping it ends every connection where it stands; [`Server::drain`] is the kind way.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Server {
    /// A server for this engine, without listeners as yet.
    #[must_use]
    pub fn builder(engine: Engine) -> ServerBuilder {
        ServerBuilder {
            engine,
            config: ServerConfig::default(),
            tcp: Vec::new(),
            memory: Vec::new(),
        }
    }

    /// What is spoken where, with the ports that were really taken.
    #[must_use]
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    /// What it is doing.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections: self.shared.open.load(Ordering::Relaxed),
            panics: self.shared.panics.load(Ordering::Relaxed),
        }
    }

    /// Serves until `signal` is ready, then drains for at most `patience`.
    pub async fn serve_until(self, signal: impl Future<Output = ()>, patience: Duration) {
        signal.await;
        self.drain(patience).await;
    }

    /// Accepts nobody any more, tells the clients to come back (to any node), answers what they have asked, and closes; after
    /// `patience`, whoever is left is cut off.
    pub async fn drain(self, patience: Duration) {
        self.shared.draining.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                connections = self.stats().connections,
                "cut off whoever had not left in time"
            );
            self.shared.kill.cancel();
            self.shared.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.kill.cancel();
    }
}
