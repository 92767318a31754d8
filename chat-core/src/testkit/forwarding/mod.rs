//! Implementations of the service boundary's ports that cross a channel: they prove that a server
//! and a router work with an engine and a store that are elsewhere.

mod event_log;
mod service;

pub use event_log::ForwardingEventLog;
pub use service::ForwardingService;
