//! Tunables of a server.

use std::time::Duration;

use crate::auth::{ConnectionLimits, RateLimit};
use crate::router::OutboxLimits;
use crate::session::Rate;
use crate::transport::proxy::Network;

/// Tunables of a [`Server`](super::Server): what a connection may cost, and for how long.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// What the server calls itself to clients. Default `chat-core/VERSION`.
    pub name: String,
    /// Connections at once, of every kind. Default: no limit but the operating system's.
    pub max_connections: u32,
    /// What strangers may do before login.
    pub connections: ConnectionLimits,
    /// Load balancers whose word on where a connection comes from is taken, on ports that are
    /// [behind one](super::ServerBuilder::behind_proxy). Default: none.
    pub proxies: Vec<Network>,
    /// From accept to a whole PROXY header. Default 2 s.
    pub proxy_timeout: Duration,
    /// Key agreements of SC1, 0.2 ms of a core each; beyond, connections are rejected before one. Default 1000 a second.
    pub handshakes: RateLimit,
    /// From accept to a whole hello of SC1 or TLS. Default 5 s.
    pub handshake_timeout: Duration,
    /// From there to the first packet. Default 5 s.
    pub first_packet_timeout: Duration,
    /// From accept to a login that is asked for. Default 10 s.
    pub login_timeout: Duration,
    /// A client that has nothing to send pings after this time; after 2.5 times of it in silence it is closed. Default 30 s.
    pub heartbeat: Duration,
    /// How long a client may read nothing of what waits for it. Default 30 s.
    pub write_timeout: Duration,
    /// Age at which a connection is asked to come back, so that keys are agreed on afresh. Default 24 h.
    pub max_age: Duration,
    /// Largest packet after login. Default 64 KiB; before login it is 4 KiB.
    pub max_packet_bytes: usize,
    /// What may wait for a slow reader.
    pub outbox: OutboxLimits,
    /// Messages read from a session. Default 100 a second, 1000 at once.
    pub sends: Rate,
    /// Packets read from a session. Default 400 a second, 2000 at once.
    pub packets: Rate,
    /// What clients are told at a drain: not to come back sooner. Default 1 s.
    pub retry_after: Duration,
    /// How long the engine has to be [unable to serve](crate::engine::Readiness), while other nodes are not known to be so too,
    /// before the TCP listeners are closed until it is able again. Who is connected stays. Zero: never. Default 5 s; 4 s or
    /// less is not enough for nodes to tell each other that none can serve. The same addresses are listened on again, which needs the
    /// same privileges as before.
    pub close_unready_after: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: concat!("chat-core/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_connections: u32::MAX,
            connections: ConnectionLimits::default(),
            proxies: Vec::new(),
            proxy_timeout: Duration::from_secs(2),
            handshakes: RateLimit::new(1000, Duration::from_secs(1)),
            handshake_timeout: Duration::from_secs(5),
            first_packet_timeout: Duration::from_secs(5),
            login_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_age: Duration::from_secs(24 * 3600),
            max_packet_bytes: crate::codec::frame::SESSION_LIMIT,
            outbox: OutboxLimits::default(),
            sends: Rate::new(100, 1000),
            packets: Rate::new(400, 2000),
            retry_after: Duration::from_secs(1),
            close_unready_after: Duration::from_secs(5),
        }
    }
}
