//! Plaintext to packets and back, without I/O.

/// The messages of `chat.v1`, generated from `proto/chat/v1/client.proto`; `tests/generated.rs` keeps them fresh.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
#[rustfmt::skip]
#[path = "generated/chat.v1.rs"]
pub mod proto;
