//! Format and limits of a record, the unit of encryption after the handshake:
//! `u16 length ‖ AES-256-GCM(u8 type ‖ content)`.

use super::cipher::TAG_LEN;

/// Maximum number of content bytes in one record.
pub const MAX_CONTENT: usize = 16 * 1024;

/// Number of bytes that a record adds to its content: length, type and tag.
pub const RECORD_OVERHEAD: usize = LENGTH_LEN + TYPE_LEN + TAG_LEN;

pub(super) const LENGTH_LEN: usize = 2;
pub(super) const TYPE_LEN: usize = 1;
/// Minimum value of the length field, which counts type, content and tag.
pub(super) const MIN_BODY: usize = TYPE_LEN + TAG_LEN;
/// Maximum value of the length field.
pub(super) const MAX_BODY: usize = TYPE_LEN + MAX_CONTENT + TAG_LEN;

/// Type of a record. It is encrypted together with the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum RecordType {
    /// Application bytes.
    Data = 0,
    /// Change of the key: the sender encrypts its next record with the next key.
    Rekey = 1,
    /// The sender's last record, which contains a close code.
    Close = 2,
}

impl TryFrom<u8> for RecordType {
    type Error = u8;

    fn try_from(byte: u8) -> Result<Self, u8> {
        match byte {
            0 => Ok(Self::Data),
            1 => Ok(Self::Rekey),
            2 => Ok(Self::Close),
            other => Err(other),
        }
    }
}
