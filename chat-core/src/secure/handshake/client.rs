//! The client's side: send one hello, then judge the answer.

use std::{fmt, time::Duration, time::Instant};

use super::{
    PROFILE_X25519_AESGCM_SHA256, RejectCode,
    messages::{Answer, KEY_LEN, LENGTH_LEN, MAX_HELLO2, answer_length, parse_answer, write_prologue},
};
use crate::secure::{
    Channel, Fingerprint, HandshakeError, credential::Credential, keys::DhSecret, symmetric::Symmetric,
};

/// Which server keys a client takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinPolicy {
    /// Only these; what a client uses whenever it knows the server.
    AnyOf(Vec<Fingerprint>),
    /// Any, because nothing is known of the server yet. The caller must store [`Connected::fingerprint`] before it sends anything:
    /// whoever stands in the way at this first contact stays there.
    FirstContact,
}

impl PinPolicy {
    /// Only this key.
    #[must_use]
    pub fn exactly(fingerprint: Fingerprint) -> Self {
        Self::AnyOf(vec![fingerprint])
    }

    /// Whether a server with this key may be talked to.
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
    /// Gone once the handshake is over.
    pending: Option<(Symmetric, DhSecret)>,
}

/// What a client's handshake came to.
#[derive(Debug)]
pub enum ClientProgress {
    /// Read more.
    NeedMore,
    /// The server is who it should be, and the channel stands.
    Done(Connected),
    /// The server declined. Nobody authenticated this, so it is advice only: try again later with the same profile and transport.
    Rejected {
        /// Why.
        code: RejectCode,
        /// When to try again; at most [`MAX_RETRY_AFTER`](super::MAX_RETRY_AFTER).
        retry_after: Duration,
    },
}

/// A finished handshake.
#[derive(Debug)]
pub struct Connected {
    /// The channel; the client speaks first.
    pub channel: Channel,
    /// The server's key, which signed for this channel and which the policy accepted.
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

    /// As [`ClientHandshake::new`] with a given ephemeral key; only test vectors fix it.
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

    /// The bytes to send first.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        &self.hello
    }

    /// Takes what was read. `unix_now` (seconds) is held against the credential's validity.
    ///
    /// A server has to wait for the client's first record, so bytes after its answer are an error.
    ///
    /// # Errors
    /// The server is not who it should be, or the answer is damaged: close, and send nothing.
    pub fn feed(&mut self, now: Instant, unix_now: u64, bytes: &[u8]) -> Result<ClientProgress, HandshakeError> {
        if self.pending.is_none() {
            return Err(HandshakeError::Over);
        }
        // One byte more than a message may have shows that there is more.
        let taken = bytes.len().min(MAX_HELLO2 + 1 - self.received.len());
        self.received.extend_from_slice(&bytes[..taken]);
        let result = self.read(now, unix_now);
        if !matches!(result, Ok(ClientProgress::NeedMore)) {
            self.pending = None;
        }
        result
    }

    /// The stream ended before the handshake did.
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

    /// Authenticates the message first, then the key that vouches for it.
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
