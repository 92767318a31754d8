//! For tests of backends and applications: the contract of each port as code, ports that fail on
//! demand, a raw peer, and server processes that can be killed.

pub mod bus;
pub mod cluster;
pub mod forwarding;
mod peer;
pub mod store;

pub use bus::{Faults, LossyBus};
pub use peer::{PASSWORD, Peer, PeerCommands, PeerError};
