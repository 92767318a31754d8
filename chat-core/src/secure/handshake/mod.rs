//! Handshake: one message each way (Noise NX), then a [`Channel`](super::Channel) at both ends.
//!
//! ```text
//! client                                        server
//!   ClientHandshake::new ── Hello1 ───────────────► ServerHandshake::feed ─► ClientHello
//!                                                        │ accept             │ reject
//!   feed ◄───────────────── Hello2 ──────────────────────┤                    │
//!     └► Connected{channel}                              └► Accepted{channel} │
//!   feed ◄───────────────── Reject ───────────────────────────────────────────┘
//! ```
//! The client's first record proves to the server that the client has the channel's keys. Until the
//! server has decrypted that record, it sends nothing more.

mod client;
mod messages;
#[cfg(feature = "server")]
mod server;

use super::cipher::CipherError;
use super::error::HandshakeError;
use super::keys::WeakPublicKey;

pub use client::{ClientHandshake, ClientProgress, Connected, PinPolicy};
pub use messages::{MAX_HELLO1, MAX_HELLO2, MAX_RETRY_AFTER, MAX_SERVER_NAME, RejectCode, reject};
#[cfg(feature = "server")]
pub use server::{Accepted, ClientHello, ServerHandshake};

/// Number of the only profile, the set of algorithms that both sides use:
/// `Noise_NX_25519_AESGCM_SHA256` with an RSASSA-PSS credential.
pub const PROFILE_X25519_AESGCM_SHA256: u16 = 0x0001;

impl From<WeakPublicKey> for HandshakeError {
    fn from(_: WeakPublicKey) -> Self {
        Self::WeakPublicKey
    }
}

impl From<CipherError> for HandshakeError {
    fn from(_: CipherError) -> Self {
        Self::BadTag
    }
}
