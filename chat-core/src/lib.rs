//! An embeddable chat engine: accounts, friends, groups, durable and ordered messages, many
//! devices, encrypted connections.
//!
//! A program assembles an [`Engine`](engine::Engine) on a [`Store`](store::Store) and has a chat
//! system, with or without sockets:
//!
//! ```
//! use std::sync::Arc;
//! use chat_core::prelude::*;
//! use chat_core::store::MemoryStore; // chat_store_sqlite::SqliteStore, for messages that last
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
//!
//! // A session in this process has the commands and events of a remote client: for bots, tests,
//! // desktop applications.
//! let name = UserName::parse("alice")?;
//! let registration = Registration::new(name, Secret::new("correct horse"));
//! let alice = engine.register(Source::Local, registration).await?;
//! let session = engine.session(alice.id, DeviceId::random()).await?;
//! let sent = session.send_text(ConversationRef::direct(alice.id), "milk, bread").await?;
//! // An acknowledged message is durable: the store has committed it.
//! assert_eq!(sent.seq.0, 1);
//!
//! // And the same engine for others, on a port. `sc1` and `tls` are the encrypted kinds.
//! let server = Server::builder(engine.clone()).plain("127.0.0.1:0".parse()?).bind().await?;
//! println!("listening on {:?}", server.addresses());
//! server.drain(std::time::Duration::from_secs(10)).await;
//! drop(session);
//! engine.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a message
//! [`transport`] (bytes) → [`secure`] (records) → `codec` (packets) → `session` (a state machine)
//! → [`engine`] (commands) → [`store`] (commit) → `router` (who gets it) → outboxes. [`server`]
//! drives it with tokio's tasks; [`client`] is the other side. What is pushed is a faster way to
//! what a device would read from the log after its cursor.
//!
//! # Ports
//! What an application may replace: [`store`] (what survives a restart), [`bus`] (node to node),
//! [`cluster`] (nodes, presence), [`auth`] (who may log in), [`hooks`] (the application's rules),
//! [`clock`]. Each states its contract; `testkit` has the contracts as code.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `client` | the client (default) |
//! | `server` | the engine, the server and the ports (default) |
//! | `tls` | TLS 1.3 listeners and clients; the caller names the crypto provider |
//! | `serde` | `Serialize` for ids and infos, as `docs/client.md` shows them; `Deserialize` for ids |
//! | `testkit` | conformance suites for backends, stores and buses that fail on demand, a raw protocol peer |
//! | `unstable` | the parts below [`server`] and [`client`]: service boundary, router, packets, state machines, SC1 channels; they may change in any release |
//!
//! Without `client` and `server` the crate is the protocol and the client's state machine
//! ([`model`], [`commands`], [`secure`], and with `unstable` `codec` and `client::machine`). It then
//! has no runtime, no sockets and no private keys, and compiles to `wasm32-unknown-unknown`.
//!
//! There is no global state: no logger, signal handler, runtime or crypto provider is installed,
//! and several engines and servers live in one process.

// Without `unstable`, items that only tests and tools use are unreachable or unused.
#![cfg_attr(not(feature = "unstable"), allow(dead_code, unreachable_pub, unused_imports))]

#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod bus;
pub mod client;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(not(feature = "unstable"))]
mod codec;
#[cfg(feature = "unstable")]
pub mod codec;
pub mod commands;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
pub mod hooks;
#[doc(hidden)]
pub mod jitter;
pub mod model;
pub mod prelude;
pub mod rate;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod router;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod router;
pub mod secure;
mod sequencer;
#[cfg(feature = "server")]
pub mod server;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod service;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod service;
#[cfg(all(feature = "server", not(feature = "unstable")))]
mod session;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod session;
#[cfg(feature = "server")]
pub mod store;
#[doc(hidden)]
pub mod sync;
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(feature = "runtime")]
mod time;
#[cfg(feature = "runtime")]
pub mod transport;

pub use async_trait::async_trait;
pub use bytes::Bytes;
