//! Framing of packets on a byte stream. A frame is a packet with its length in front: a 4-byte
//! big-endian length, then that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::FrameError;

/// Size of the length in front of each packet, in bytes.
pub const PREFIX: usize = 4;

/// Maximum size of a packet that a server accepts before login, in bytes.
pub const MAX_GUEST_PACKET_BYTES: usize = 4 * 1024;
/// Maximum size of a packet that a server accepts after login by default, in bytes.
pub const DEFAULT_MAX_PACKET_BYTES: usize = 64 * 1024;
/// Maximum size of a packet that a client has to accept, in bytes. A list of conversations can be
/// long.
pub const MAX_SERVER_PACKET_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of bytes reserved for a packet before they arrive. Memory grows with the bytes
/// that have arrived, not with the announced length.
const RESERVE_AHEAD: usize = 16 * 1024;

/// Splits a byte stream into packets.
///
/// A length above the limit is rejected before memory is reserved for it. Packets share the memory
/// in which they arrived.
#[derive(Debug)]
pub struct FrameDecoder {
    input: BytesMut,
    limit: usize,
}

impl FrameDecoder {
    /// Creates a decoder that rejects packets of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            input: BytesMut::new(),
            limit,
        }
    }

    /// Rejects packets of more than `limit` bytes from now on, including buffered packets.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds bytes that have arrived. They are copied only if earlier bytes are still buffered.
    pub fn feed(&mut self, bytes: BytesMut) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            self.input.extend_from_slice(&bytes);
        }
    }

    /// Returns the buffer, so that a caller can read into it directly.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Returns the next complete packet, if there is one.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]: the length of a packet exceeds the limit. Close the connection:
    /// the bytes after it cannot be split into packets.
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

    /// Returns the number of buffered bytes, which belong to no returned packet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Returns whether no part of a packet is buffered. If the stream ends while a part is
    /// buffered, that packet is truncated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// Releases the memory if nothing is buffered, for sessions that are silent for a long time.
    pub fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }
}

/// Appends `packet` as one frame.
pub fn put_frame(out: &mut BytesMut, packet: &[u8]) {
    out.reserve(packet.len().saturating_add(PREFIX));
    put_prefix(out, packet.len());
    out.extend_from_slice(packet);
}

/// Appends the length in front of a packet of `length` bytes.
pub(super) fn put_prefix(out: &mut BytesMut, length: usize) {
    out.put_u32(u32::try_from(length).expect("packets are bounded far below 4 GiB"));
}
