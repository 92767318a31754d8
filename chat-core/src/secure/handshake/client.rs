//! The client's side of the handshake: it makes one hello, then verifies the server's answer. Short
//! comments such as `-> e` and `ee` name the tokens of the Noise pattern.

use std::{fmt, time::Duration, time::Instant};

use super::{
    PROFILE_X25519_AESGCM_SHA256, RejectCode,
    messages::{Answer, KEY_LEN, LENGTH_LEN, MAX_HELLO2, answer_length, parse_answer, write_prologue},
};
use crate::secure::{
    Channel, Fingerprint, HandshakeError, credential::Credential, keys::DhSecret, symmetric::Symmetric,
};

/// Rule by which a client accepts server keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinPolicy {
    /// The client accepts only these keys. A client that has pinned a key of the server uses this.
    AnyOf(Vec<Fingerprint>),
    /// The client accepts any key, because it has pinned no key of the server yet. The caller must
    /// store [`Connected::fingerprint`] before it sends anything over the channel. An attacker who
    /// intercepts this first contact is trusted from then on.
    FirstContact,
}

impl PinPolicy {
    /// Returns the policy that accepts only this key.
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

/// A client's handshake: it provides the hello to send, and reads the server's answer.
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
    /// The server rejected the handshake. The reject is not authenticated, so the client must not
    /// switch to another profile or transport because of it, but may try again later.
    Rejected {
        /// Reason that the server gave.
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
    /// Fingerprint of the server's RSA key, which the policy accepted.
    pub fingerprint: Fingerprint,
}

impl ClientHandshake {
    /// Prepares a hello for the server with the name `server_name`, which may be empty.
    ///
    /// # Errors
    /// [`HandshakeError::NameTooLong`] if the name is longer than
    /// [`MAX_SERVER_NAME`](super::MAX_SERVER_NAME).
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
        noise.mix_hash(&[]); // the empty payload of the first message
        Ok(Self {
            hello,
            pin,
            received: Vec::new(),
            pending: Some((noise, ephemeral)),
        })
    }

    /// Returns the client's hello, which the caller must send first.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Processes the bytes that the caller read from the stream. `unix_now`, in seconds, is
    /// compared with the validity of the server's credential.
    ///
    /// A server has to wait for the client's first record, so bytes after its answer are an error.
    ///
    /// # Errors
    /// The server cannot be authenticated, its answer is malformed, or an earlier call has ended
    /// the handshake: the caller must close the connection without sending anything.
    pub fn feed(&mut self, now: Instant, unix_now: u64, bytes: &[u8]) -> Result<ClientProgress, HandshakeError> {
        if self.pending.is_none() {
            return Err(HandshakeError::AlreadyEnded);
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

    /// Authenticates the server's hello, then the credential for the static key in it.
    fn finish(&mut self, now: Instant, unix_now: u64) -> Result<Connected, HandshakeError> {
        let (mut noise, ephemeral) = self.pending.take().ok_or(HandshakeError::AlreadyEnded)?;
        let message = &mut self.received[LENGTH_LEN + 2..];
        let (server_ephemeral, rest) = message
            .split_first_chunk_mut::<KEY_LEN>()
            .ok_or(HandshakeError::LengthMismatch)?;
        let (server_static, credential) = rest
            .split_first_chunk_mut::<{ KEY_LEN + 16 }>() // the key and its tag
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
