//! The protocol itself, without the client library: sends that are pipelined, many to a write, and a session for each connection. Costs
//! little, and does what the library never would: it goes on after another session has taken over.

mod account;
mod places;
mod session;
mod swarm;

pub(crate) use account::Account;
pub(crate) use session::{Session, Site};
pub(crate) use swarm::dump_for;
pub use swarm::{RawOptions, RawSwarm};
