//! Redis as the bus, the presence service and the discovery of a chat cluster.
//!
//! ```no_run
//! # fn example() -> Result<(), chat_bus_redis::UrlError> {
//! use chat_bus_redis::{Options, RedisBackend};
//!
//! let redis = RedisBackend::open("redis://127.0.0.1/", Options::default())?;
//! let (bus, presence, discovery) = (redis.bus(), redis.presence(), redis.discovery());
//! # drop((bus, presence, discovery)); Ok(()) }
//! ```
//!
//! Nothing durable is in Redis. A node that cannot reach it, or is lied to by it, reads the store
//! instead. So opening does not wait for the server, connections are retried without end, and
//! whatever may have been lost is reported as a gap.
//!
//! **Keys**, all with one prefix:
//! - channels `conversation:…`, `user:…`, `node:…`, `control` and `nodes`;
//! - `alive:NODE`, a lease that says that a node is alive;
//! - `presence:USER`, a hash from devices to nodes and states, which count only while the node's
//!   lease lives;
//! - `node:NODE`, a node's info, also a lease; `nodes`, the set of the node ids.
//!
//! The server's clock decides when leases end.
//!
//! **Everything read is untrusted**: nothing durable depends on it, and malformed values are left
//! out. A person who can write to Redis can still ring false doorbells, show false presence, typing
//! and read marks, make nodes busy, and name nodes to clients (which demand the service's key of
//! them). So give Redis a password, and a network of its own.

mod bus;
mod commands;
mod discovery;
mod hex;
mod listener;
mod mailbox;
mod options;
mod presence;

pub use bus::RedisBus;
pub use discovery::RedisDiscovery;
pub use options::{Options, RedisBackend, UrlError};
pub use presence::RedisPresence;
