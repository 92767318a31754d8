//! The server's side of the handshake: it reads one hello, then accepts or rejects it. Short
//! comments such as `<- e` and `ee` name the tokens of the Noise pattern.

use std::{fmt, time::Duration, time::Instant};

use bytes::Bytes;

use super::{
    PROFILE_X25519_AESGCM_SHA256, RejectCode,
    messages::{Hello1, LENGTH_LEN, MAX_HELLO1, MAX_HELLO2, hello1_length, parse_hello1, reject},
};
use crate::secure::{Channel, HandshakeError, ServerKeys, keys::DhSecret, symmetric::Symmetric};

/// A server's handshake until the client's hello is complete. It holds at most [`MAX_HELLO1`]
/// bytes, and does not allocate until then.
pub struct ServerHandshake {
    buffer: [u8; MAX_HELLO1],
    filled: usize,
    over: bool,
}

impl ServerHandshake {
    /// Creates a handshake that waits for a hello.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: [0; MAX_HELLO1],
            filled: 0,
            over: false,
        }
    }

    /// Processes the bytes that the caller read from the stream. Returns the hello, or `None` if
    /// more bytes are needed. A client has to wait for the answer, so bytes after the hello are an
    /// error.
    ///
    /// This does no public-key arithmetic. The caller may call [`ClientHello::accept`] or, if the
    /// server is overloaded, send a [`reject`].
    ///
    /// # Errors
    /// The bytes are not a hello, the server cannot accept the hello, or an earlier call has ended
    /// the handshake. If [`HandshakeError::reject`] returns a message, the caller sends it; then
    /// the caller closes the connection.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<ClientHello>, HandshakeError> {
        if self.over {
            return Err(HandshakeError::AlreadyEnded);
        }
        let taken = bytes.len().min(MAX_HELLO1 - self.filled);
        self.buffer[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        let result = self.read(taken < bytes.len());
        self.over = !matches!(result, Ok(None));
        result
    }

    /// Returns whether no byte has arrived yet. This distinguishes a port scan from a broken
    /// client.
    #[must_use]
    pub const fn is_untouched(&self) -> bool {
        self.filled == 0
    }

    fn read(&self, overflow: bool) -> Result<Option<ClientHello>, HandshakeError> {
        let received = &self.buffer[..self.filled];
        let Some(length) = hello1_length(received)? else {
            return Ok(None);
        };
        let hello = parse_hello1(&received[..length])?;
        if overflow || received.len() > length {
            return Err(HandshakeError::UnexpectedData);
        }
        if !hello.offers_our_profile {
            return Err(HandshakeError::NoCommonProfile);
        }
        Ok(Some(ClientHello::new(&hello)))
    }
}

impl Default for ServerHandshake {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandshake")
            .field("filled", &self.filled)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl HandshakeError {
    /// Returns the reject that a server sends before it closes the connection, or `None` if it
    /// sends nothing. Only [`HandshakeError::NoCommonProfile`] is reported to the client.
    #[must_use]
    pub fn reject(&self) -> Option<[u8; 9]> {
        match self {
            Self::NoCommonProfile => Some(reject(RejectCode::NoProfile, Duration::ZERO)),
            _ => None,
        }
    }
}

/// A client's well-formed hello, before the server answers it. Nothing in it is authenticated.
#[derive(Debug)]
pub struct ClientHello {
    server_name: String,
    prologue: Vec<u8>,
    ephemeral: [u8; 32],
}

/// An accepted handshake. The caller must send `reply`, then wait for the client's first record.
#[derive(Debug)]
pub struct Accepted {
    /// The server's hello, which the caller sends unchanged.
    pub reply: Bytes,
    /// The channel. Send nothing over it before its opener has opened the client's first record,
    /// which proves that the client is alive and holds the keys.
    pub channel: Channel,
    /// Server name that the client requested; it may be empty. The client chooses it, so the caller
    /// must escape it in logs.
    pub server_name: String,
}

impl ClientHello {
    fn new(hello: &Hello1<'_>) -> Self {
        Self {
            server_name: hello.name.to_owned(),
            prologue: hello.prologue.to_owned(),
            ephemeral: *hello.ephemeral,
        }
    }

    /// Returns the server name that the client requested; it may be empty.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// Agrees on keys with the client, and encodes the server's hello. This takes about 0.2 ms and
    /// no RSA operation.
    ///
    /// # Errors
    /// [`HandshakeError::WeakPublicKey`] if the client's key has low order: the caller must close
    /// the connection.
    pub fn accept(self, keys: &ServerKeys, now: Instant) -> Result<Accepted, HandshakeError> {
        self.accept_with(keys, now, DhSecret::generate())
    }

    /// Like [`ClientHello::accept`], with a given ephemeral key, for test vectors.
    pub(in crate::secure) fn accept_with(
        self,
        keys: &ServerKeys,
        now: Instant,
        ephemeral: DhSecret,
    ) -> Result<Accepted, HandshakeError> {
        let static_key = keys.current();
        let mut noise = Symmetric::new(&self.prologue);
        noise.mix_hash(&self.ephemeral); // -> e
        noise.mix_hash(&[]); // the empty payload of the first message

        let mut reply = Vec::with_capacity(MAX_HELLO2);
        reply.extend_from_slice(&[0; LENGTH_LEN]);
        reply.extend_from_slice(&PROFILE_X25519_AESGCM_SHA256.to_be_bytes());
        reply.extend_from_slice(ephemeral.public()); // <- e
        noise.mix_hash(ephemeral.public());
        noise.mix_key(&ephemeral.agree(&self.ephemeral)?); // ee
        noise.encrypt_and_hash(static_key.secret.public(), &mut reply)?; // s
        noise.mix_key(&static_key.secret.agree(&self.ephemeral)?); // es
        noise.encrypt_and_hash(&static_key.credential, &mut reply)?;

        let body_length = reply.len() - LENGTH_LEN;
        let body_length = u16::try_from(body_length).expect("RSA keys are limited to 4096 bits");
        reply[..LENGTH_LEN].copy_from_slice(&body_length.to_be_bytes());
        let (from_client, to_client, binding) = noise.split();
        Ok(Accepted {
            reply: reply.into(),
            channel: Channel::new(to_client, from_client, binding, now),
            server_name: self.server_name,
        })
    }
}
