//! A client of the bare protocol, without the client library. It pipelines sends, many in one
//! write, and has one session per connection. It needs little CPU time and, unlike the library,
//! continues to send after another session has replaced its session.

mod account;
mod progress;
mod session;
mod swarm;

pub(crate) use account::Account;
pub(crate) use session::{RunContext, Session};
pub(crate) use swarm::dump_for;
pub use swarm::{WireOptions, WireSwarm};
