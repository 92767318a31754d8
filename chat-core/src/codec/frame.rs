//! Packets on a stream of bytes: a 4-byte big-endian length, then that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::FrameError;

/// Bytes of the length in front of each packet.
pub const PREFIX: usize = 4;

/// Largest packet a server takes from a guest.
pub const GUEST_LIMIT: usize = 4 * 1024;
/// Largest packet a server takes after login, unless configured otherwise.
pub const SESSION_LIMIT: usize = 64 * 1024;
/// Largest packet a client has to take: a list of conversations can be long.
pub const CLIENT_LIMIT: usize = 16 * 1024 * 1024;

/// Most bytes to reserve for a packet ahead of their arrival: memory follows what came, not what was claimed.
const RESERVE_AHEAD: usize = 16 * 1024;

/// Cuts a stream of bytes into packets.
///
/// A claimed length above the limit is refused before anything is reserved for it. Packets share the memory they arrived in.
#[derive(Debug)]
pub struct FrameDecoder {
    input: BytesMut,
    limit: usize,
}

impl FrameDecoder {
    /// A decoder that refuses packets of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            input: BytesMut::new(),
            limit,
        }
    }

    /// Refuses packets of more than `limit` bytes from now on, those among them that have arrived but were not taken.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes that arrived. Costs no copy while no packet is cut in two.
    pub fn feed(&mut self, bytes: BytesMut) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.input.extend_from_slice(&bytes);
        }
    }

    /// Where bytes may be read into directly.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// The next whole packet, if there is one.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]: a packet claims more than the limit. Close: what follows cannot be told apart.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.input.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(FrameError::TooLarge {
                length,
                limit: self.limit,
            });
        }
        let whole = length.saturating_add(PREFIX);
        if self.input.len() < whole {
            let missing = whole.saturating_sub(self.input.len());
            self.input.reserve(missing.min(RESERVE_AHEAD));
            return Ok(None);
        }
        self.input.advance(PREFIX);
        Ok(Some(self.input.split_to(length).freeze()))
    }

    /// Bytes that arrived and were not taken yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Whether bytes of a packet are waiting, so that an end of the stream would cut it off.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Gives the memory back while nothing is buffered, for sessions that are silent for long.
    pub fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

/// Appends `body` as one packet.
pub fn put_frame(out: &mut BytesMut, body: &[u8]) {
    out.reserve(body.len().saturating_add(PREFIX));
    put_prefix(out, body.len());
    out.extend_from_slice(body);
}

/// Appends the length of a packet.
pub(super) fn put_prefix(out: &mut BytesMut, length: usize) {
    out.put_u32(u32::try_from(length).expect("packets are bounded far below 4 GiB"));
}
