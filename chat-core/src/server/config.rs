//! Limits and timeouts of a server: [`ServerConfig`].

use std::time::Duration;

use crate::auth::ConnectionLimits;
use crate::rate::Rate;
use crate::router::OutboxLimits;
use crate::session::SessionConfig;
use crate::transport::Network;

/// Limits and deadlines of a [`Server`](super::Server) and its connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Limits and deadlines of the protocol on each connection.
    pub session: SessionConfig,
    /// Maximum number of open connections, including those that have not logged in. Default: only
    /// the operating system limits it.
    pub max_connections: u32,
    /// Limits on connections before login, and limits and penalties per source address.
    pub connection_limits: ConnectionLimits,
    /// Networks of the load balancers whose PROXY headers are trusted, on listeners that are
    /// [behind a load balancer](super::ServerBuilder::behind_proxy). Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Maximum time from accept to a complete PROXY header. Default 2 s.
    pub proxy_header_timeout: Duration,
    /// Maximum rate of SC1 and TLS handshakes; each takes about 0.2 ms of a core. Connections
    /// beyond it are rejected before the key agreement. Default 1000 a second.
    pub handshake_rate: Rate,
    /// Maximum time from accept, or from the PROXY header behind a load balancer, to the end of the
    /// SC1 or TLS handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// Maximum time for which a peer may read nothing of the output that waits for it. A peer that
    /// reads slowly must read all waiting output within ten times this time. Over TLS, and over
    /// streams of the application, progress is detected in steps: a first one of up to 16 KiB, then
    /// of 4 KiB until the peer reads as fast as the server writes. When the engine has ended a
    /// session, its peer must read all waiting output within this time. Default 30 s.
    pub write_timeout: Duration,
    /// Time from login until the client is asked to reconnect, so that SC1 and TLS connections get
    /// new keys. Default 24 h.
    pub max_connection_age: Duration,
    /// Size limits of the queue of pushes that wait for one session.
    pub outbox_limits: OutboxLimits,
    /// Minimum delay after which clients reconnect when the server drains. Default 1 s.
    pub retry_after: Duration,
    /// Time for which the engine may be [unable to serve](crate::engine::Readiness) before the TCP
    /// listeners close, unless, as far as this node knows, no other node can serve. When the engine
    /// can serve again, or no other node can, the listeners reopen on the same addresses, which
    /// needs the same privileges as the first time. Open connections stay. With 4 s or less, nodes
    /// cannot announce in time that none of them can serve; with zero, listeners never close.
    /// Default 5 s.
    pub unready_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            max_connections: u32::MAX,
            connection_limits: ConnectionLimits::default(),
            trusted_proxies: Vec::new(),
            proxy_header_timeout: Duration::from_secs(2),
            handshake_rate: Rate::new(1000, Duration::from_secs(1)),
            handshake_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            max_connection_age: Duration::from_secs(24 * 3600),
            outbox_limits: OutboxLimits::default(),
            retry_after: Duration::from_secs(1),
            unready_timeout: Duration::from_secs(5),
        }
    }
}
