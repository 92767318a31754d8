//! An embeddable chat engine: accounts, friends, groups, durable and ordered messages, several
//! devices per user, encrypted connections.
//!
//! A program builds an [`Engine`](engine::Engine) on a [`Store`](store::Store) and has a chat
//! system, with or without sockets:
//!
//! ```
//! use std::sync::Arc;
//! use chat_core::prelude::*;
//! use chat_core::store::MemoryStore; // chat_store_sqlite::SqliteStore, for durable messages
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
//!
//! // The application sends and reads for a user.
//! let name = UserName::parse("alice")?;
//! let registration = Registration::new(name, Secret::new("correct horse"));
//! let alice = engine.register(Source::Local, registration).await?;
//! let alice = engine.acting_as(alice.id);
//! let sent = alice.send_text(ConversationRef::direct(alice.user()), "milk, bread").await?;
//! assert_eq!(sent.seq.0, 1); // `Ok` means that the store has committed the message
//!
//! // Chat clients connect to a server. `sc1` and `tls` are the encrypted kinds of listeners.
//! let server = Server::builder(engine.clone()).plain("127.0.0.1:0".parse()?).bind().await?;
//! println!("listening on {:?}", server.addresses());
//! server.drain(std::time::Duration::from_secs(10)).await;
//! engine.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The path of a message
//! [`transport`] (bytes) → [`secure`] (records) → `codec` (packets) → `session` (a state machine) →
//! `service` → [`engine`] (commands) → [`store`] (commit) → `router` (which sessions receive it) →
//! their outboxes. [`server`] drives this with tokio tasks; [`client`] is the other end of the
//! connection. Pushes are only an optimisation: a device could read the same events from the log
//! after its cursor.
//!
//! # Ports
//! An application can implement these traits itself: [`store`] (state that survives a restart),
//! [`bus`] (messages between nodes), [`cluster`] (nodes and presence), [`auth`] (logins), [`hooks`]
//! (rules of the application) and [`clock`]. Each states its contract; `testkit` has conformance
//! suites for backends.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `server` | the engine, the server and the ports (default) |
//! | `client` | the client, with its connections and its files (default) |
//! | `tls` | TLS 1.3 listeners and clients; the caller provides the crypto provider |
//! | `serde` | `Serialize` for ids, states and infos, as `docs/client.md` shows them; `Deserialize` for ids and states |
//! | `testkit` | conformance suites for backends; wrappers that inject faults into stores and buses; a client of the raw protocol |
//! | `unstable` | service boundary, router, packets, state machines, SC1; may change in any release |
//!
//! Without `client`, `server` and `tls` the crate is the model, the protocol and the client's state
//! machine ([`model`], [`commands`]; with `unstable` also [`codec`], the channel in [`secure`] and
//! [`client::machine`]). It then has no runtime, no sockets and no RSA private keys, and compiles
//! to `wasm32-unknown-unknown`.
//!
//! The crate has no global state: it installs no logger, signal handler, runtime or crypto
//! provider, and a process can have several engines and servers. `docs/embedding.md` explains a
//! program step by step.

// With only some of the features, items that only the other features use are unreachable or unused.
#![cfg_attr(
    not(all(feature = "client", feature = "server", feature = "unstable")),
    allow(dead_code, unreachable_pub, unused_imports)
)]

pub mod commands;
pub mod model;
pub mod prelude;

// The path of a message.
#[cfg(feature = "runtime")]
pub mod transport;

pub mod secure;

#[cfg(not(feature = "unstable"))]
mod codec;
#[cfg(feature = "unstable")]
pub mod codec;

#[cfg(all(feature = "server", not(feature = "unstable")))]
mod session;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod session;

#[cfg(feature = "server")]
pub mod server;

#[cfg(all(feature = "server", not(feature = "unstable")))]
mod service;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod service;

#[cfg(feature = "server")]
pub mod engine;

#[cfg(all(feature = "server", not(feature = "unstable")))]
mod router;
#[cfg(all(feature = "server", feature = "unstable"))]
pub mod router;

pub mod client;

// Ports.
#[cfg(feature = "server")]
pub mod auth;
#[cfg(feature = "server")]
pub mod bus;
#[cfg(feature = "server")]
pub mod clock;
#[cfg(feature = "server")]
pub mod cluster;
#[cfg(feature = "server")]
pub mod hooks;
#[cfg(feature = "server")]
pub mod store;

// Parts that several of the above share.
mod file_names;
#[doc(hidden)]
pub mod jitter;
#[cfg(feature = "runtime")]
mod panics;
pub mod rate;
mod sequencer;
#[doc(hidden)]
pub mod sync;
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(feature = "runtime")]
mod time;

pub use async_trait::async_trait;
pub use bytes::Bytes;
