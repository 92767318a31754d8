//! An embeddable chat engine.

pub mod auth;
pub mod bus;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod codec;
pub mod engine;
pub mod hooks;
pub mod model;
pub mod router;
pub mod secure;
pub mod server;
pub mod session;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod transport;

pub use async_trait::async_trait;
pub use bytes::Bytes;
