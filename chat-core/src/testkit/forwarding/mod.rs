//! Implementations of [`ChatService`](crate::service::ChatService) and
//! [`EventLog`](crate::router::EventLog) that forward calls through a channel. Tests use them to
//! show that a server shares no state with its engine, and a router none with its store.

mod event_log;
mod service;

pub use event_log::ForwardingEventLog;
pub use service::ForwardingService;
