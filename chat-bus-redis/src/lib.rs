//! Redis as the bus, the presence service and the discovery of a chat cluster.
//!
//! ```no_run
//! # type Error = Box<dyn std::error::Error>;
//! # async fn example(store: impl chat_core::store::Store) -> Result<(), Error> {
//! use chat_bus_redis::{Options, RedisBackend};
//!
//! let cluster_key = store.cluster_key().await?;
//! let redis = RedisBackend::open("redis://127.0.0.1/", cluster_key, Options::default())?;
//! let (bus, presence, discovery) = (redis.bus(), redis.presence(), redis.discovery());
//! # drop((bus, presence, discovery)); Ok(()) }
//! ```
//!
//! Redis holds nothing durable. A node finds in the store the events of which Redis did not tell
//! it; presence and the list of nodes are incomplete until Redis works again. So opening a backend
//! does not wait for the Redis server, a subscriber reconnects until it is closed, and a possible
//! loss of messages is reported as a [gap](chat_core::bus::BusMessage::Gap).
//!
//! **Channels and keys**, all with the prefix of the options:
//! - channels `conversation:ID`, `user:ID`, `node:ID` and `control`, one for each
//!   [topic](chat_core::bus::Topic) of the bus, and `nodes`, on which nodes announce that the list
//!   of nodes has changed;
//! - `presence:USER`, a hash with one claim for each device of a user: the node to which the device
//!   is connected, and its state;
//! - `lease:NODE`, the lease of a node: the claims that name the node are valid until it expires;
//! - `node:NODE`, the [info](chat_core::cluster::NodeInfo) of a node, which expires like a lease;
//!   `nodes`, the set of the node ids.
//!
//! The clock of the Redis server decides when leases and infos expire.
//!
//! **Data from Redis is untrusted**: nothing durable depends on it, and malformed values are
//! ignored. Each envelope, claim, lease and node info ends with a tag under the cluster key, which
//! Redis does not have; data without a valid tag counts as absent. So an attacker who can write to
//! Redis cannot make up receipts, read marks, typing notices, presence or nodes. Such an attacker
//! can still delete and delay data, repeat earlier data of a node at the same place (show a typing
//! notice again, or keep the lease of a dead node), and cause load on the nodes. So protect Redis
//! with a password and a private network.

mod bus;
mod commands;
mod discovery;
mod hex;
mod listener;
mod mailbox;
mod options;
mod presence;
mod tagged;

pub use bus::RedisBus;
pub use discovery::RedisDiscovery;
pub use options::{Options, RedisBackend, UrlError};
pub use presence::RedisPresence;
