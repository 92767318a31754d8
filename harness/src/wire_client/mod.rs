//! A client of the bare protocol, without the client library. It can send many messages in one
//! write, without waiting for answers, and starts a new session on each connection. It needs
//! little CPU time. Unlike the library, it does not end when another session has replaced its
//! session: it starts another one, and goes on sending.

mod account;
mod progress;
mod session;
mod swarm;

pub(crate) use account::Account;
pub(crate) use session::{RunContext, Session};
pub(crate) use swarm::record_logs_of;
pub use swarm::{WireSwarm, WireSwarmOptions};
