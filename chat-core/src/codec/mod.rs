//! Plaintext to packets and back, without I/O.
//!
//! Bytes are cut into packets by [`frame`]; [`server`] and [`client`] give packets their meaning in terms of the
//! [`model`](crate::model), each from its own side. Whatever a peer sends is checked on the way: what comes out is valid by
//! construction, what does not fit becomes a [`DecodeError`] that says whether the session can go on. Events are encoded once:
//! [`body`] makes the bytes that are stored, and a delivery is a header in front of them.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

pub mod body;
pub mod client;
pub mod frame;
pub mod server;
pub mod version;

mod convert;
mod error;
mod event;
mod packet;
mod send;
mod wire;

#[cfg(test)]
mod tests;

/// The messages of `chat.v1`, generated from `proto/chat/v1/client.proto`; `tests/generated.rs` keeps them fresh.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::arithmetic_side_effects, rustdoc::all)]
#[rustfmt::skip]
#[path = "generated/chat.v1.rs"]
pub mod proto;

pub use error::{BodyError, DecodeError, FrameError, Malformed};
pub use packet::{Answer, Failure, Hello, Incoming, LoggedIn, NodeEntry, Request, RequestId, RequestKind, Welcome};
