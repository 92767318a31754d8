//! Encoding and decoding of packets, without I/O.
//!
//! `frame` splits bytes into packets. `server` and `client` translate packets to and from the
//! [`model`](crate::model), each for its own side. All requests are validated: decoded values are
//! valid by construction, and an invalid packet becomes a `DecodeError`, which says whether the
//! session can continue. What a server sends is checked for its form only; its texts stay as they
//! are, except that the emoji of reactions are normalised. A server encodes the body of an event
//! once: [`body`] makes the bytes that are stored, and every packet with the event has a copy of
//! them after the other fields of the event.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

pub mod body;

#[cfg(not(feature = "unstable"))]
pub(crate) mod client;
#[cfg(feature = "unstable")]
pub mod client;
#[cfg(not(feature = "unstable"))]
pub(crate) mod frame;
#[cfg(feature = "unstable")]
pub mod frame;
#[cfg(not(feature = "unstable"))]
pub(crate) mod server;
#[cfg(feature = "unstable")]
pub mod server;
#[cfg(not(feature = "unstable"))]
pub(crate) mod version;
#[cfg(feature = "unstable")]
pub mod version;

mod convert;
mod error;
mod event;
mod packet;
mod send;
mod wire;

#[cfg(test)]
mod tests;

/// Messages of `chat.v1`, generated from `proto/chat/v1/client.proto`; `tests/generated.rs` checks
/// that they are up to date.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::arithmetic_side_effects, rustdoc::all)]
#[rustfmt::skip]
#[path = "generated"]
mod generated {
    #[path = "chat.v1.rs"]
    pub mod proto;
}

/// Items for programs that read or write packets themselves; public with the feature `unstable`.
mod internals {
    pub use super::error::{DecodeError, FrameError, Malformed};
    pub use super::generated::proto;
    pub use super::packet::{Answer, Hello, Incoming, LoggedIn, NodeEntry, Request, RequestId, RequestKind, Welcome};
}

pub use error::BodyError;
#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;
pub use packet::Failure;
