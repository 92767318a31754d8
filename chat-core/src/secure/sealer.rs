//! [`Sealer`]: the sending half of a channel.

use std::{fmt, time::Duration, time::Instant};

use bytes::BytesMut;

use super::{
    cipher::Cipher,
    error::SealError,
    record::{LENGTH_LEN, MAX_CONTENT, RecordType, TYPE_LEN},
};

/// Number of records under one key after which the sender changes its key.
pub const REKEY_AFTER_RECORDS: u32 = 1 << 20;
/// Age of a key at which the sender changes it.
pub const REKEY_AFTER: Duration = Duration::from_secs(60 * 60);

/// The sending half of a channel, which turns application bytes into records and appends them to
/// the caller's output buffer.
///
/// One call makes one data record if the bytes fit into 16 KiB, so that bytes that are sent
/// together cost one tag and one write. After [`REKEY_AFTER_RECORDS`] or [`REKEY_AFTER`], the
/// sealer changes its key before the next data record. It has no buffer.
pub struct Sealer {
    /// `None` once the channel is closed for sending, or the cipher's counter has reached its end.
    cipher: Option<Cipher>,
    /// Start of the channel, or time of the last change of the key.
    keyed_at: Instant,
    /// Number of records under the current key.
    records: u32,
    closed: bool,
}

impl Sealer {
    pub(super) const fn new(cipher: Cipher, now: Instant) -> Self {
        Self {
            cipher: Some(cipher),
            keyed_at: now,
            records: 0,
            closed: false,
        }
    }

    /// Appends `content` to `out` as records with at most [`MAX_CONTENT`] bytes of it each. Empty
    /// content makes one empty record.
    ///
    /// # Errors
    /// The channel is closed or exhausted; `out` then holds only complete records.
    pub fn seal(&mut self, now: Instant, content: &[u8], out: &mut BytesMut) -> Result<(), SealError> {
        let mut rest = content;
        loop {
            let (chunk, tail) = rest.split_at(rest.len().min(MAX_CONTENT));
            self.rekey_if_due(now, out)?;
            self.seal_record(RecordType::Data, chunk, out)?;
            if tail.is_empty() {
                return Ok(());
            }
            rest = tail;
        }
    }

    /// Encrypts the bytes that `write` appends to `out`, in place: up to [`MAX_CONTENT`] bytes are
    /// not copied.
    ///
    /// `write` may only append. If it appends nothing, no data record is made. Content beyond the
    /// limit of one record goes into further records.
    ///
    /// # Errors
    /// The channel is closed or exhausted; `out` then holds only complete records.
    ///
    /// # Panics
    /// Panics if `write` shortens the buffer below its initial length.
    pub fn seal_with<R>(
        &mut self,
        now: Instant,
        out: &mut BytesMut,
        write: impl FnOnce(&mut BytesMut) -> R,
    ) -> Result<R, SealError> {
        self.cipher()?;
        self.rekey_if_due(now, out)?;
        let start = begin(out, RecordType::Data);
        let content_start = out.len();
        let result = write(out);
        assert!(out.len() >= content_start, "a record's writer may only append");
        if out.len() == content_start {
            out.truncate(start);
            return Ok(result);
        }
        let tail = (out.len() - content_start > MAX_CONTENT).then(|| out.split_off(content_start + MAX_CONTENT));
        self.finish(start, out)?;
        if let Some(tail) = tail {
            self.seal(now, &tail, out)?;
        }
        Ok(result)
    }

    /// Appends the CLOSE record with a close code, after which the peer expects the end of the
    /// stream. Wipes the key.
    ///
    /// # Errors
    /// The channel was already closed or is exhausted.
    pub fn seal_close(&mut self, code: u16, out: &mut BytesMut) -> Result<(), SealError> {
        self.seal_record(RecordType::Close, &code.to_be_bytes(), out)?;
        self.cipher = None;
        self.closed = true;
        Ok(())
    }

    /// Appends a REKEY record and changes the key now. The sealer does so by itself when a change
    /// is due. A receiver ends the channel if a key is changed after fewer than 1024 records and
    /// less than 10 s.
    ///
    /// # Errors
    /// The channel is closed or exhausted.
    pub fn rekey(&mut self, now: Instant, out: &mut BytesMut) -> Result<(), SealError> {
        self.seal_record(RecordType::Rekey, &[], out)?;
        if let Some(cipher) = &mut self.cipher {
            cipher.rekey();
        }
        self.records = 0;
        self.keyed_at = now;
        Ok(())
    }

    /// Returns whether the close record was written.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    fn rekey_if_due(&mut self, now: Instant, out: &mut BytesMut) -> Result<(), SealError> {
        let due = self.records >= REKEY_AFTER_RECORDS || now.saturating_duration_since(self.keyed_at) >= REKEY_AFTER;
        if due { self.rekey(now, out) } else { Ok(()) }
    }

    fn seal_record(&mut self, kind: RecordType, content: &[u8], out: &mut BytesMut) -> Result<(), SealError> {
        out.reserve(super::RECORD_OVERHEAD + content.len());
        let start = begin(out, kind);
        out.extend_from_slice(content);
        self.finish(start, out)
    }

    /// Encrypts the record that begins at `start`, and writes its length. On an error, removes the
    /// record from `out`.
    fn finish(&mut self, start: usize, out: &mut BytesMut) -> Result<(), SealError> {
        match self.encrypt(&mut out[start + LENGTH_LEN..]) {
            Ok(tag) => {
                out.extend_from_slice(&tag);
                let body = out.len() - start - LENGTH_LEN;
                let length = u16::try_from(body).expect("content was limited to MAX_CONTENT");
                out[start..start + LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
                self.records += 1;
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    fn encrypt(&mut self, plaintext: &mut [u8]) -> Result<[u8; 16], SealError> {
        self.cipher()?.encrypt(&[], plaintext).map_err(|_| {
            self.cipher = None;
            SealError::Exhausted
        })
    }

    fn cipher(&mut self) -> Result<&mut Cipher, SealError> {
        let reason = if self.closed {
            SealError::Closed
        } else {
            SealError::Exhausted
        };
        self.cipher.as_mut().ok_or(reason)
    }

    #[cfg(test)]
    pub(super) const fn cipher_mut(&mut self) -> Option<&mut Cipher> {
        self.cipher.as_mut()
    }

    #[cfg(test)]
    pub(super) const fn set_records(&mut self, records: u32) {
        self.records = records;
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("records", &self.records)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Appends a placeholder for the length, and the type. Returns the index where the record begins.
fn begin(out: &mut BytesMut, kind: RecordType) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_LEN]);
    out.extend_from_slice(&[kind as u8; TYPE_LEN]);
    start
}
