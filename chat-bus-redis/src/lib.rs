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
//! Redis holds nothing durable. A node that cannot reach Redis, or gets wrong data from it, reads
//! the store instead. So opening a backend does not wait for the Redis server, a subscriber
//! reconnects until it is closed, and a possible loss of messages is reported as a
//! [gap](chat_core::bus::BusMessage::Gap).
//!
//! **Channels and keys**, all with the prefix of the options:
//! - channels `conversation:…`, `user:…`, `node:…`, `control` and `nodes`;
//! - `alive:NODE`, a lease; the node counts as alive until the lease expires;
//! - `presence:USER`, a hash with one claim for each device of a user: the node to which the device
//!   is connected, and its state; a claim is valid only while the lease of its node lasts;
//! - `node:NODE`, the [info](chat_core::cluster::NodeInfo) of a node, stored with a lease;
//!   `nodes`, the set of the node ids.
//!
//! The clock of the Redis server decides when leases end.
//!
//! **Data from Redis is untrusted**: nothing durable depends on it, and malformed values are
//! ignored. An attacker who can write to Redis can still publish false doorbells (messages that say
//! that a log has grown), presence, typing notices and read marks, cause load on the nodes, and
//! list false nodes for clients (which check the service's key when they connect). So protect Redis
//! with a password and a private network.

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
