//! The handshake: one message each way (Noise NX), then a [`Channel`](super::Channel) at both ends.
//!
//! ```text
//! client                                        server
//!   ClientHandshake::new ── Hello1 ───────────────► ServerHandshake::feed ─► ClientHello
//!                                                        │ accept             │ reject
//!   feed ◄───────────────── Hello2 ──────────────────────┤                    │
//!     └► Connected{channel}                              └► Accepted{channel} │
//!   feed ◄───────────────── Reject ───────────────────────────────────────────┘
//! ```
//! The server's first proof that the client holds the keys is the client's first record: until it opens, the server sends nothing more and
//! keeps no session.

mod client;
mod messages;
mod server;

pub use client::{ClientHandshake, ClientProgress, Connected, PinPolicy};
pub use messages::{MAX_HELLO1, MAX_HELLO2, MAX_RETRY_AFTER, MAX_SERVER_NAME, RejectCode, reject};
pub use server::{Accepted, ClientHello, ServerHandshake};

/// `Noise_NX_25519_AESGCM_SHA256` with an RSASSA-PSS credential: the one profile there is.
pub const PROFILE_X25519_AESGCM_SHA256: u16 = 0x0001;
