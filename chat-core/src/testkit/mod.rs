//! Tools for tests of backends and applications: conformance suites for stores, buses, discovery
//! and presence, wrappers that inject faults into a store or a bus, a client of the raw protocol,
//! a measurement of logins, and implementations of the service and the event log that forward calls
//! through a channel.

pub mod bus;
pub mod cluster;
pub mod forwarding;
mod logins;
mod peer;
pub mod store;

pub use bus::{Faults, LossyBus};
pub use logins::assert_fast_logins_with_many_conversations;
pub use peer::{PASSWORD, Peer, PeerCommands, PeerError};
