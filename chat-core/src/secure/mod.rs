//! The secure channel SC1. Its handshake and its records work on bytes in memory, without I/O,
//! tasks or a clock. Only [`ServerIdentity`] and `KnownHostsFile` access files.
//!
//! A server has an RSA key, by which clients recognise it. At the start and then once a day, the
//! RSA key signs a new X25519 key, which the server uses in its Noise NX handshakes. Every record
//! after the handshake is encrypted with AES-256-GCM. `docs/sc1.md` specifies every byte and gives
//! the reasons.
//!
//! The driver, which is the code that owns the socket, passes at most [`MAX_HELLO1`] bytes to
//! [`ServerHandshake::feed`] on the server's side. Then it calls [`ClientHello::accept`] and sends
//! the reply, or it sends [`reject`]. After that, it passes all received bytes to the channel's
//! [`Opener`], and sends only bytes that the channel's [`Sealer`] has encrypted. The driver also
//! enforces deadlines, rates and the maximum age of a connection (24 h): this module learns the
//! time only from its arguments.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use bytes::BytesMut;
//! use chat_core::secure::{
//!     ClientHandshake, ClientProgress, Opened, PinPolicy, ServerHandshake, ServerIdentity,
//!     ServerKeys,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (now, unix_now) = (Instant::now(), 1_790_000_000);
//! let keys = Arc::new(ServerKeys::new(ServerIdentity::generate(2048)?, unix_now)?);
//!
//! let mut client = ClientHandshake::new("chat.example", PinPolicy::exactly(keys.fingerprint()))?;
//! let hello = ServerHandshake::new().feed(client.hello())?.expect("the hello is complete");
//! let mut accepted = hello.accept(&keys, now)?;
//! let ClientProgress::Done(mut connected) = client.feed(now, unix_now, &accepted.reply)? else {
//!     unreachable!("the answer is complete");
//! };
//! assert_eq!(connected.channel.binding(), accepted.channel.binding());
//!
//! let mut wire = BytesMut::new();
//! connected.channel.sealer().seal(now, b"hello", &mut wire)?;
//! let opened = accepted.channel.opener().feed(now, &mut wire)?;
//! assert_eq!(opened, Opened::Data(BytesMut::from("hello")));
//! # Ok(())
//! # }
//! ```

mod cipher;
mod keys;
mod symmetric;

mod error;
mod fingerprint;

mod credential;
#[cfg(feature = "server")]
mod identity;
#[cfg(feature = "server")]
mod server_keys;

#[cfg(not(feature = "unstable"))]
pub(crate) mod handshake;
#[cfg(feature = "unstable")]
pub mod handshake;

mod known_hosts;

mod channel;
mod opener;
mod record;
mod sealer;

/// Items that only implementations of servers, clients and protocol tools need.
mod internals {
    pub use super::channel::Channel;
    pub use super::credential::{CLOCK_TOLERANCE, CREDENTIAL_LIFETIME, RSA_BITS};
    pub use super::error::{HandshakeError, OpenError, SealError};
    #[cfg(feature = "server")]
    pub use super::handshake::{Accepted, ClientHello, ServerHandshake, reject};
    pub use super::handshake::{ClientHandshake, ClientProgress, Connected, MAX_HELLO1, PinPolicy, RejectCode};
    pub use super::known_hosts::{KnownHostsFile, PinVerdict, format_pin, host_and_port};
    pub use super::opener::{MAX_RECORDS_PER_KEY, Opened, Opener, REKEY_MIN_AGE, REKEY_MIN_RECORDS};
    pub use super::record::{MAX_CONTENT, RECORD_OVERHEAD};
    pub use super::sealer::{REKEY_AFTER, REKEY_AFTER_RECORDS, Sealer};
    #[cfg(feature = "server")]
    pub use super::server_keys::ROTATION_INTERVAL;
}

pub use error::IdentityError;
pub use fingerprint::{Fingerprint, InvalidFingerprint};
#[cfg(feature = "server")]
pub use identity::ServerIdentity;
#[cfg(not(feature = "unstable"))]
pub(crate) use internals::*;
#[cfg(feature = "unstable")]
pub use internals::*;
pub(crate) use known_hosts::format_authority;
pub use known_hosts::{KnownHosts, KnownHostsError, Trust};
#[cfg(feature = "client")]
pub(crate) use known_hosts::{LOOPBACK, canonical_host};
#[cfg(feature = "server")]
pub use server_keys::ServerKeys;

#[cfg(test)]
mod tests;
