//! Redis between the nodes of a chat cluster: the bus, presence, and discovery.
//!
//! ```no_run
//! # fn example() -> Result<(), chat_bus_redis::UrlError> {
//! let redis = chat_bus_redis::RedisBackend::open("redis://127.0.0.1/", chat_bus_redis::Options::default())?;
//! let (bus, presence, discovery) = (redis.bus(), redis.presence(), redis.discovery());
//! # drop((bus, presence, discovery)); Ok(()) }
//! ```
//!
//! Nothing durable is in Redis, and nothing has to be: a node that cannot reach it, or is lied to by it, asks the store
//! instead. So opening does not wait for the server, everything reconnects without end, and whatever may have been missed is told as
//! a gap.
//!
//! **Keys**, all behind one prefix: channels `conversation:…`, `user:…`, `node:…`, `control` and `nodes`; `alive:NODE`, a lease that
//! says that a node lives; `presence:USER`, a hash of devices to nodes and states, which count only while the node's lease
//! lives; `node:NODE`, what a node tells of itself, a lease too; `nodes`, the set of their ids. The server's clock decides when
//! leases end.
//!
//! **What is read is untrusted**: nothing durable is believed from it, and values that are not ours are left out. Whoever can write to Redis
//! can still ring false bells, show false presence, typing and read marks, make nodes busy, and name nodes to clients that look for
//! some (which demand the service's key of them). So give it a password, and a network of its own.

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
