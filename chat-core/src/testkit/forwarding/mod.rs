//! Implementations of [`ChatService`](crate::service::ChatService) and
//! [`EventLog`](crate::router::EventLog) that forward calls through a channel. Tests use them to
//! show that a server works with a remote engine, and a router with a remote store.

mod event_log;
mod service;

pub use event_log::ForwardingEventLog;
pub use service::ForwardingService;
