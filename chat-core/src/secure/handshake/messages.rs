//! Encoding of the handshake's messages. All integers are big-endian.

use std::{fmt, time::Duration};

use super::PROFILE_X25519_AESGCM_SHA256;
use crate::secure::error::HandshakeError;

/// Maximum size of a client's hello (Hello1), in bytes. A server reads no more before the hello is
/// complete.
pub const MAX_HELLO1: usize = 120;
/// Maximum size of a server's answer, in bytes: its hello (Hello2), or a reject.
pub const MAX_HELLO2: usize = 1280;
/// Maximum length of the server name in a hello, in bytes.
pub const MAX_SERVER_NAME: usize = 64;
/// Maximum delay in a reject. A client shortens a longer one to this, because a reject is not
/// authenticated.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

pub(super) const LENGTH_LEN: usize = 2;
pub(super) const KEY_LEN: usize = 32;
const MAGIC: &[u8; 4] = b"SC1\0";
const MAX_PROFILES: u8 = 8;
/// Minimum size of a client's hello after its length field: magic, number of profiles, one profile,
/// length of an empty name, key.
const MIN_HELLO1_BODY: usize = 4 + 1 + 2 + 1 + KEY_LEN;
/// Value of the profile field that marks a reject.
const REJECT_PROFILE: u16 = 0;
/// Size of a reject, in bytes: length, profile, code, delay.
const REJECT_LEN: usize = 2 + 2 + 1 + 4;
/// Minimum size of a server's hello after its length field: profile, ephemeral key, encrypted
/// static key with its tag, tag of the credential.
const MIN_HELLO2_BODY: usize = 2 + KEY_LEN + KEY_LEN + 16 + 16;

/// Reason for which a server rejects a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectCode {
    /// The server supports none of the offered profiles.
    NoProfile,
    /// The server is overloaded.
    Busy,
    /// The server is shutting down.
    ShuttingDown,
    /// A code that this version of the library does not know. The client treats it like
    /// [`Busy`](Self::Busy).
    Other(u8),
}

impl RejectCode {
    const fn to_byte(self) -> u8 {
        match self {
            Self::NoProfile => 1,
            Self::Busy => 2,
            Self::ShuttingDown => 3,
            Self::Other(code) => code,
        }
    }

    const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::NoProfile,
            2 => Self::Busy,
            3 => Self::ShuttingDown,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProfile => f.write_str("no common profile"),
            Self::Busy => f.write_str("busy"),
            Self::ShuttingDown => f.write_str("shutting down"),
            Self::Other(code) => write!(f, "unknown reason {code}"),
        }
    }
}

/// Encodes the message that rejects a handshake: `code`, and the delay before the next attempt (in
/// whole milliseconds, at most [`MAX_RETRY_AFTER`]).
#[must_use]
pub fn reject(code: RejectCode, retry_after: Duration) -> [u8; REJECT_LEN] {
    let millis = u32::try_from(retry_after.min(MAX_RETRY_AFTER).as_millis()).expect("60,000 ms fit into 32 bits");
    let mut message = [0; REJECT_LEN];
    message[1] = 7; // number of bytes after the length field
    message[4] = code.to_byte();
    message[5..].copy_from_slice(&millis.to_be_bytes());
    message
}

/// A client's hello, decoded. All bytes before the ephemeral key are the prologue, which both sides
/// mix into the handshake's hash.
pub(super) struct Hello1<'a> {
    pub(super) offers_our_profile: bool,
    pub(super) name: &'a str,
    pub(super) prologue: &'a [u8],
    pub(super) ephemeral: &'a [u8; KEY_LEN],
}

/// Encodes the prologue of a client's hello, to which the ephemeral key is appended.
pub(super) fn write_prologue(name: &str) -> Result<Vec<u8>, HandshakeError> {
    if name.len() > MAX_SERVER_NAME {
        return Err(HandshakeError::NameTooLong(name.len()));
    }
    let name_length = u8::try_from(name.len()).expect("limited just above");
    let body_length = MIN_HELLO1_BODY as u16 + u16::from(name_length);
    let mut out = Vec::with_capacity(MAX_HELLO1);
    out.extend_from_slice(&body_length.to_be_bytes());
    out.extend_from_slice(MAGIC);
    out.push(1);
    out.extend_from_slice(&PROFILE_X25519_AESGCM_SHA256.to_be_bytes());
    out.push(name_length);
    out.extend_from_slice(name.as_bytes());
    Ok(out)
}

/// Checks the part of a hello that has arrived. Returns the length of the hello once all of it has
/// arrived, and `None` before.
pub(super) fn hello1_length(received: &[u8]) -> Result<Option<usize>, HandshakeError> {
    let Some(body_length) = length_field(received) else {
        return Ok(None);
    };
    let total = LENGTH_LEN + usize::from(body_length);
    if usize::from(body_length) < MIN_HELLO1_BODY || total > MAX_HELLO1 {
        return Err(HandshakeError::LengthOutOfRange(body_length));
    }
    let magic = &received[LENGTH_LEN..received.len().min(LENGTH_LEN + MAGIC.len())];
    if !MAGIC.starts_with(magic) {
        return Err(HandshakeError::BadMagic);
    }
    Ok((received.len() >= total).then_some(total))
}

/// Parses a complete hello, which [`hello1_length`] has checked.
pub(super) fn parse_hello1(message: &[u8]) -> Result<Hello1<'_>, HandshakeError> {
    let mismatch = HandshakeError::LengthMismatch;
    let (prologue, ephemeral) = message.split_last_chunk::<KEY_LEN>().ok_or(mismatch.clone())?;
    let fields = &prologue[LENGTH_LEN + MAGIC.len()..];
    let (&count, fields) = fields.split_first().ok_or(mismatch.clone())?;
    if !(1..=MAX_PROFILES).contains(&count) {
        return Err(HandshakeError::ProfileCount(count));
    }
    let (profiles, fields) = fields
        .split_at_checked(2 * usize::from(count))
        .ok_or(mismatch.clone())?;
    let (&name_length, name) = fields.split_first().ok_or(mismatch.clone())?;
    if usize::from(name_length) > MAX_SERVER_NAME {
        return Err(HandshakeError::NameTooLong(name_length.into()));
    }
    if name.len() != usize::from(name_length) {
        return Err(mismatch);
    }
    let name = str::from_utf8(name).map_err(|_| HandshakeError::NameNotUtf8)?;
    let ours = PROFILE_X25519_AESGCM_SHA256.to_be_bytes();
    Ok(Hello1 {
        offers_our_profile: profiles.chunks_exact(2).any(|profile| profile == ours),
        name,
        prologue,
        ephemeral,
    })
}

/// Answer of a server. `Hello2` has no fields, because only the state of the client's handshake can
/// decrypt the server's hello.
pub(super) enum Answer {
    Hello2,
    Reject { code: RejectCode, retry_after: Duration },
}

/// Checks the part of a server's answer that has arrived. Returns the length of the answer once all
/// of it has arrived, and `None` before.
pub(super) fn answer_length(received: &[u8]) -> Result<Option<usize>, HandshakeError> {
    let Some(body_length) = length_field(received) else {
        return Ok(None);
    };
    let total = LENGTH_LEN + usize::from(body_length);
    let is_reject = total == REJECT_LEN;
    if total > MAX_HELLO2 || (usize::from(body_length) < MIN_HELLO2_BODY && !is_reject) {
        return Err(HandshakeError::LengthOutOfRange(body_length));
    }
    if let Some(profile) = received[LENGTH_LEN..].first_chunk() {
        match u16::from_be_bytes(*profile) {
            REJECT_PROFILE if is_reject => {}
            REJECT_PROFILE => return Err(HandshakeError::MalformedReject),
            _ if is_reject => return Err(HandshakeError::LengthOutOfRange(body_length)),
            PROFILE_X25519_AESGCM_SHA256 => {}
            other => return Err(HandshakeError::ProfileNotOffered(other)),
        }
    }
    Ok((received.len() >= total).then_some(total))
}

/// Parses a complete answer, which [`answer_length`] has checked.
pub(super) fn parse_answer(message: &[u8]) -> Answer {
    match message {
        [_, _, _, _, code, a, b, c, d] => Answer::Reject {
            code: RejectCode::from_byte(*code),
            retry_after: Duration::from_millis(u32::from_be_bytes([*a, *b, *c, *d]).into()).min(MAX_RETRY_AFTER),
        },
        _ => Answer::Hello2,
    }
}

fn length_field(received: &[u8]) -> Option<u16> {
    received
        .first_chunk::<LENGTH_LEN>()
        .map(|length| u16::from_be_bytes(*length))
}
