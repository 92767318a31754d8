//! Tools for tests of backends and applications: a conformance suite for each port, ports that fail
//! on demand, a client of the raw protocol, and service boundaries that cross a channel.

pub mod bus;
pub mod cluster;
pub mod forwarding;
mod peer;
pub mod store;

pub use bus::{Faults, LossyBus};
pub use peer::{PASSWORD, Peer, PeerCommands, PeerError};
