//! Framing of packets on a byte stream. A frame is a packet with its length in front: a 4-byte
//! big-endian length, then that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use zeroize::{Zeroize as _, Zeroizing};

use super::FrameError;

/// Size of the length in front of each packet, in bytes.
pub const PREFIX_BYTES: usize = 4;

/// Maximum size of a packet that a server accepts before login by default, in bytes.
pub const MAX_GUEST_PACKET_BYTES: usize = 4 * 1024;
/// Maximum size of a packet that a server accepts after login by default, in bytes.
pub const DEFAULT_MAX_PACKET_BYTES: usize = 64 * 1024;
/// Maximum size of a packet that a client has to accept, in bytes. A list of conversations can be
/// long.
pub const MAX_SERVER_PACKET_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of missing bytes of a packet for which memory is reserved in one step, so that
/// memory grows with the bytes that have arrived, not with the announced length.
const RESERVE_AHEAD: usize = 16 * 1024;

/// Splits a byte stream into packets.
///
/// A length above the limit is rejected before memory is reserved for it. Packets share the memory
/// in which they arrived, unless they are [wiped](Self::set_wiping).
#[derive(Debug)]
pub struct FrameDecoder {
    input: BytesMut,
    limit: usize,
    wipes: bool,
}

impl FrameDecoder {
    /// Creates a decoder that rejects packets of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            input: BytesMut::new(),
            limit,
            wipes: false,
        }
    }

    /// Sets whether the decoder wipes packets from now on, because they may hold passwords. If so,
    /// the decoder returns a copy of each packet. The packet in the buffer is overwritten with
    /// zeros at once, and the copy when it is dropped.
    pub fn set_wiping(&mut self, wipes: bool) {
        self.wipes = wipes;
    }

    /// Returns whether packets are wiped.
    #[must_use]
    pub const fn is_wiping(&self) -> bool {
        self.wipes
    }

    /// Rejects packets of more than `limit` bytes from now on, including buffered packets.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds bytes that have arrived. They are copied only if earlier bytes are still buffered.
    pub fn feed(&mut self, mut bytes: BytesMut) {
        if self.input.is_empty() {
            self.input = bytes;
            return;
        }
        self.append(&bytes);
        if self.wipes {
            bytes.zeroize();
        }
    }

    /// Adds a copy of bytes that a caller has read into a buffer of its own. The caller has to wipe
    /// that buffer if packets are wiped.
    pub fn append(&mut self, bytes: &[u8]) {
        let free = self.input.capacity().saturating_sub(self.input.len());
        if self.wipes && free < bytes.len() {
            // Growing the buffer would leave a copy of its content behind.
            let mut grown = BytesMut::with_capacity(self.input.len().saturating_add(bytes.len()));
            grown.extend_from_slice(&self.input);
            self.input.zeroize();
            self.input = grown;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Returns the buffer, so that a caller can read into it directly. If packets are wiped, use
    /// [`append`](Self::append) instead, because a buffer that grows leaves a copy behind.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Returns the next complete packet, if there is one.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]: the length of a packet exceeds the limit. Close the connection:
    /// the decoder does not skip the packet.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.input.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(FrameError::TooLarge {
                length,
                limit: self.limit,
            });
        }
        let whole = length.saturating_add(PREFIX_BYTES);
        if self.input.len() < whole {
            let missing = whole.saturating_sub(self.input.len());
            if !self.wipes {
                self.input.reserve(missing.min(RESERVE_AHEAD));
            }
            return Ok(None);
        }
        self.input.advance(PREFIX_BYTES);
        let mut packet = self.input.split_to(length);
        if !self.wipes {
            return Ok(Some(packet.freeze()));
        }
        let copy = Zeroizing::new(packet.to_vec());
        packet.zeroize();
        Ok(Some(Bytes::from_owner(copy)))
    }

    /// Returns the number of buffered bytes, which belong to no returned packet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Returns whether nothing is buffered. If the stream ends while something is, although
    /// [`next_packet`](Self::next_packet) returns no further packet, the last packet is truncated.
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
    out.reserve(packet.len().saturating_add(PREFIX_BYTES));
    put_prefix(out, packet.len());
    out.extend_from_slice(packet);
}

/// Appends the prefix of a frame: the length of its packet.
pub(super) fn put_prefix(out: &mut BytesMut, length: usize) {
    out.put_u32(u32::try_from(length).expect("packets are bounded far below 4 GiB"));
}
