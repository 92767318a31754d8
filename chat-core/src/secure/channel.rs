//! [`Channel`]: both halves of an established channel.

use std::{fmt, time::Instant};

use super::{cipher::Cipher, opener::Opener, sealer::Sealer};

/// An established channel: its sending half and its receiving half. Split it to use them in
/// different tasks.
pub struct Channel {
    sealer: Sealer,
    opener: Opener,
    binding: [u8; 32],
}

impl Channel {
    pub(super) const fn new(send: Cipher, receive: Cipher, binding: [u8; 32], now: Instant) -> Self {
        Self {
            sealer: Sealer::new(send, now),
            opener: Opener::new(receive, now),
            binding,
        }
    }

    /// Returns the sending half.
    pub const fn sealer(&mut self) -> &mut Sealer {
        &mut self.sealer
    }

    /// Returns the receiving half.
    pub const fn opener(&mut self) -> &mut Opener {
        &mut self.opener
    }

    /// Returns 32 bytes that are the same at both ends of this channel, and different for every
    /// other channel (Noise's handshake hash, §11.2). They are not secret.
    #[must_use]
    pub const fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    /// Splits the channel into its halves, each of which has its own key.
    #[must_use]
    pub fn split(self) -> (Sealer, Opener) {
        (self.sealer, self.opener)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("sealer", &self.sealer)
            .field("opener", &self.opener)
            .finish_non_exhaustive()
    }
}
