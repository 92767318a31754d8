//! Implementations of the service boundary and the event log that forward calls through a channel.
//! They prove that a server and a router work with a remote engine and store.

mod event_log;
mod service;

pub use event_log::ForwardingEventLog;
pub use service::ForwardingService;
