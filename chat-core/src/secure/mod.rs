//! The secure channel SC1: bytes to plaintext records and back, without I/O, tasks or a clock.
//!
//! A server proves who it is with an RSA key that signs, once a day, the X25519 key of its Noise NX handshakes; every record after the
//! handshake is AES-256-GCM. `docs/sc1.md` has every byte and the reasons.
//!
//! The driver's part, on a server: read at most [`MAX_HELLO1`] bytes into [`ServerHandshake::feed`]; [`ClientHello::accept`] and send the
//! reply, or send [`reject`]; then give everything read to the channel's [`Opener`] and send everything through its [`Sealer`].
//! Deadlines, budgets and the age of a session (24 h) are the driver's: nothing here knows the time but by its arguments.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use bytes::BytesMut;
//! use chat_core::secure::{
//!     ClientHandshake, ClientProgress, Opened, PinPolicy, ServerHandshake, ServerIdentity, ServerKeys,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (now, unix_now) = (Instant::now(), 1_790_000_000);
//! let keys = Arc::new(ServerKeys::new(ServerIdentity::generate(2048)?, unix_now)?);
//!
//! let mut client = ClientHandshake::new("chat.example", PinPolicy::exactly(keys.fingerprint()))?;
//! let hello = ServerHandshake::new().feed(client.hello())?.expect("the hello is whole");
//! let mut accepted = hello.accept(&keys, now)?;
//! let ClientProgress::Done(mut connected) = client.feed(now, unix_now, &accepted.reply)? else {
//!     unreachable!("the answer is whole");
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
mod identity;
mod server_keys;

pub mod handshake;

pub mod known_hosts;

mod channel;
mod opener;
mod record;
mod sealer;

pub use channel::Channel;
pub use credential::{CLOCK_TOLERANCE, CREDENTIAL_LIFETIME, RSA_BITS};
pub use error::{HandshakeError, IdentityError, OpenError, SealError};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use handshake::{
    Accepted, ClientHandshake, ClientHello, ClientProgress, Connected, MAX_HELLO1, PinPolicy, RejectCode,
    ServerHandshake, reject,
};
pub use identity::ServerIdentity;
pub use known_hosts::{KnownHosts, KnownHostsError, KnownHostsFile, Trust};
pub use opener::{Opened, Opener, REKEY_MIN_AGE, REKEY_MIN_RECORDS, REKEY_REQUIRED_RECORDS};
pub use record::{MAX_CONTENT, RECORD_OVERHEAD};
pub use sealer::{REKEY_AFTER, REKEY_AFTER_RECORDS, Sealer};
pub use server_keys::{ROTATE_EVERY, ServerKeys};

#[cfg(test)]
mod tests;
