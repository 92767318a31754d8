//! The client's side of the handshake: it sends one hello, then verifies the answer.

use std::{fmt, time::Duration, time::Instant};

use super::{
    PROFILE_X25519_AESGCM_SHA256, RejectCode,
    messages::{Answer, KEY_LEN, LENGTH_LEN, MAX_HELLO2, answer_length, parse_answer, write_prologue},
};
use crate::secure::{
    Channel, Fingerprint, HandshakeError, credential::Credential, keys::DhSecret, symmetric::Symmetric,
};

/// Server keys that a client accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinPolicy {
    /// Only these keys. A client uses this whenever it knows the server.
    AnyOf(Vec<Fingerprint>),
    /// Any key, because the server is not known yet. The caller must store
    /// [`Connected::fingerprint`] before it sends anything. An attacker who intercepts this first
    /// contact is trusted from then on.
    FirstContact,
}

impl PinPolicy {
    /// Accepts only this key.
    #[must_use]
    pub fn exactly(fingerprint: Fingerprint) -> Self {
        Self::AnyOf(vec![fingerprint])
    }

    /// Returns whether the policy accepts a server with this key.
    #[must_use]
    pub fn accepts(&self, presented: &Fingerprint) -> bool {
        match self {
            Self::AnyOf(pins) => pins.contains(presented),
            Self::FirstContact => true,
        }
    }
}

/// Sends a hello and reads the server's answer.
pub struct ClientHandshake {
    hello: Vec<u8>,
    pin: PinPolicy,
    received: Vec<u8>,
    /// `None` once the handshake is over.
    pending: Option<(Symmetric, DhSecret)>,
}

/// Progress of a client's handshake.
#[derive(Debug)]
pub enum ClientProgress {
    /// More bytes are needed.
    NeedMore,
    /// The server is authenticated, and the channel is established.
    Done(Connected),
    /// The server rejected the handshake. The message is not authenticated, so it is only advice:
    /// try again later with the same profile and transport.
    Rejected {
        /// Reason of the server.
        code: RejectCode,
        /// Delay before the next attempt, at most [`MAX_RETRY_AFTER`](super::MAX_RETRY_AFTER).
        retry_after: Duration,
    },
}

/// Result of a successful handshake: the channel and the identity of the server.
#[derive(Debug)]
pub struct Connected {
    /// The channel. The client sends first.
    pub channel: Channel,
    /// Fingerprint of the server's key, which signed for this channel and which the policy
    /// accepted.
    pub fingerprint: Fingerprint,
}

impl ClientHandshake {
    /// Prepares a hello for the server known as `server_name`, which may be empty.
    ///
    /// # Errors
    /// The name is longer than [`MAX_SERVER_NAME`](super::MAX_SERVER_NAME).
    pub fn new(server_name: &str, pin: PinPolicy) -> Result<Self, HandshakeError> {
        Self::with_ephemeral(server_name, pin, DhSecret::generate())
    }

    /// Like [`ClientHandshake::new`], with a given ephemeral key, for test vectors.
    pub(in crate::secure) fn with_ephemeral(
        server_name: &str,
        pin: PinPolicy,
        ephemeral: DhSecret,
    ) -> Result<Self, HandshakeError> {
        let mut hello = write_prologue(server_name)?;
        let mut noise = Symmetric::new(&hello);
        hello.extend_from_slice(ephemeral.public()); // -> e
        noise.mix_hash(ephemeral.public());
        noise.mix_hash(&[]); // its empty payload
        Ok(Self {
            hello,
            pin,
            received: Vec::new(),
            pending: Some((noise, ephemeral)),
        })
    }

    /// Returns the bytes to send first.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Takes the bytes that were read. `unix_now` (in seconds) is compared with the credential's
    /// validity.
    ///
    /// A server has to wait for the client's first record, so bytes after its answer are an error.
    ///
    /// # Errors
    /// The server cannot be authenticated, or its answer is malformed: close, and send nothing.
    pub fn feed(&mut self, now: Instant, unix_now: u64, bytes: &[u8]) -> Result<ClientProgress, HandshakeError> {
        if self.pending.is_none() {
            return Err(HandshakeError::Over);
        }
        // One byte beyond the longest message is enough to detect surplus bytes.
        let taken = bytes.len().min(MAX_HELLO2 + 1 - self.received.len());
        self.received.extend_from_slice(&bytes[..taken]);
        let result = self.read(now, unix_now);
        if !matches!(result, Ok(ClientProgress::NeedMore)) {
            self.pending = None;
        }
        result
    }

    /// Returns the error for a stream that ended before the handshake did.
    #[must_use]
    pub fn end_of_stream(self) -> HandshakeError {
        HandshakeError::Truncated
    }

    fn read(&mut self, now: Instant, unix_now: u64) -> Result<ClientProgress, HandshakeError> {
        let Some(length) = answer_length(&self.received)? else {
            return Ok(ClientProgress::NeedMore);
        };
        if self.received.len() > length {
            return Err(HandshakeError::UnexpectedData);
        }
        match parse_answer(&self.received) {
            Answer::Reject { code, retry_after } => Ok(ClientProgress::Rejected { code, retry_after }),
            Answer::Hello2 => self.finish(now, unix_now).map(ClientProgress::Done),
        }
    }

    /// Authenticates the message first, then the credential of its static key.
    fn finish(&mut self, now: Instant, unix_now: u64) -> Result<Connected, HandshakeError> {
        let (mut noise, ephemeral) = self.pending.take().ok_or(HandshakeError::Over)?;
        let message = &mut self.received[LENGTH_LEN + 2..];
        let (server_ephemeral, rest) = message
            .split_first_chunk_mut::<KEY_LEN>()
            .ok_or(HandshakeError::LengthMismatch)?;
        let (server_static, credential) = rest
            .split_first_chunk_mut::<{ KEY_LEN + 16 }>()
            .ok_or(HandshakeError::LengthMismatch)?;
        noise.mix_hash(server_ephemeral); // <- e
        noise.mix_key(&ephemeral.agree(server_ephemeral)?); // ee
        let server_static: &[u8; KEY_LEN] = noise
            .decrypt_and_hash(server_static)? // s
            .first_chunk()
            .ok_or(HandshakeError::LengthMismatch)?;
        noise.mix_key(&ephemeral.agree(server_static)?); // es
        let credential = noise.decrypt_and_hash(credential)?;

        let fingerprint =
            Credential::parse(credential)?.verify(server_static, PROFILE_X25519_AESGCM_SHA256, &self.pin, unix_now)?;
        let (to_server, from_server, binding) = noise.split();
        Ok(Connected {
            channel: Channel::new(to_server, from_server, binding, now),
            fingerprint,
        })
    }
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandshake")
            .field("pin", &self.pin)
            .field("received", &self.received.len())
            .field("over", &self.pending.is_none())
            .finish_non_exhaustive()
    }
}
