//! The driver: where transports, the secure channel, sessions and the engine meet tokio's tasks.
//!
//! A [`Server`] accepts connections for an [`Engine`] and serves each in one task. Several servers run in one process, each with
//! its own listeners, limits and keys; nothing is global. The engine is not the server's: shut it down after the server.

mod accept;
mod builder;
mod config;
mod connection;
mod connections;
mod handshake;
mod keys;
mod log_throttle;
mod readiness_gate;
mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use builder::{BindError, ServerBuilder};
pub use config::ServerConfig;

use self::connections::{Connections, Phase};
use self::log_throttle::LogThrottle;
use self::readiness_gate::ReadinessGate;
use crate::auth::ConnectionGate;
use crate::engine::Engine;
use crate::rate::Bucket;
use crate::session::SessionConfig;
use crate::sync::Mutex;
use crate::time::now;

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Open connections, guests included.
    pub connections: u32,
    /// Connections that ended by a panic since the start: a defect each.
    pub panics: u64,
    /// TCP listeners that are closed until this node can serve again.
    pub closed_listeners: u32,
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
    /// Ends the tasks that are no connections.
    draining: CancellationToken,
    readiness_gate: ReadinessGate,
    connections: Arc<Connections>,
    panics: AtomicU64,
    rejections: RejectionLogs,
}

/// What kept connections out, by what operators can do about it.
#[derive(Debug, Default)]
struct RejectionLogs {
    /// As many as there may be.
    full: LogThrottle,
    /// As many as there may be before login, or close to it.
    crowded: LogThrottle,
    /// Logged in, and one too many of its source.
    one_source: LogThrottle,
    /// The operating system hands out no more.
    not_accepted: LogThrottle,
    /// An address cannot be listened on again.
    not_opened: LogThrottle,
}

impl Shared {
    /// Whether there is time for one more key agreement; otherwise when there is.
    fn admit_handshake(&self, now: Instant) -> Result<(), Duration> {
        let mut bucket = self.handshakes.lock();
        bucket.check(now, &self.config.handshake_rate)?;
        bucket.add(now, &self.config.handshake_rate);
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
            connections: u32::try_from(self.shared.connections.len()).unwrap_or(u32::MAX),
            panics: self.shared.panics.load(Ordering::Relaxed),
            closed_listeners: self.shared.readiness_gate.closed(),
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
        self.shared.connections.advance(Phase::Draining);
        self.shared.tasks.close();
        if tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                connections = self.stats().connections,
                "cut off whoever had not left in time"
            );
            self.shared.connections.advance(Phase::Killed);
            self.shared.tasks.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.connections.advance(Phase::Killed);
    }
}
