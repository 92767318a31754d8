//! A client of the bare protocol, without the client library. It pipelines sends, many in one
//! write, and has one session per connection. It costs little, and does what the library never
//! does: it continues after another session has replaced it.

mod account;
mod progress;
mod session;
mod swarm;

pub(crate) use account::Account;
pub(crate) use session::{RunContext, Session};
pub(crate) use swarm::dump_for;
pub use swarm::{WireOptions, WireSwarm};
