//! [`Opener`]: the receiving half of a channel.
//!
//! ```text
//!            CLOSE                     any byte
//!   Open ─────────────► Closed ─────────────────────► Failed
//!     └── any violation, end of stream ────────────────▲
//! ```

use std::{fmt, time::Duration, time::Instant};

use bytes::{Buf, BytesMut};

use super::{
    cipher::{Cipher, CipherError, TAG_LEN},
    error::OpenError,
    record::{LENGTH_LEN, MAX_BODY, MIN_BODY, RecordType, TYPE_LEN},
};

/// Maximum number of records under one key. The receiver ends the channel if the sender does not
/// change its key before.
pub const MAX_RECORDS_PER_KEY: u32 = 1 << 24;
/// Number of records under one key, without the REKEY record, after which a sender may change the
/// key, however young it is.
pub const REKEY_MIN_RECORDS: u32 = 1024;
/// Age of a key from which a sender may change it, even after fewer than [`REKEY_MIN_RECORDS`]
/// records.
pub const REKEY_MIN_AGE: Duration = Duration::from_secs(10);

/// Result of [`Opener::feed`].
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// Application bytes, which were decrypted in place; there may be none. A record may hold
    /// several packets, or a part of one.
    Data(BytesMut),
    /// Close code in the peer's last record. Only the end of the stream may follow.
    Close(u16),
    /// The input holds no complete record: the caller has to read more bytes.
    NeedMore,
}

/// The receiving half of a channel, which turns records back into application bytes.
///
/// After the first violation of the protocol, the key is wiped and every further call fails. The
/// opener has no buffer.
pub struct Opener {
    state: State,
    /// Start of the channel, or time of the last change of the key.
    keyed_at: Instant,
    /// Number of records under the current key.
    records: u32,
}

enum State {
    Open(Cipher),
    Closed,
    Failed,
}

impl Opener {
    pub(super) const fn new(cipher: Cipher, now: Instant) -> Self {
        Self {
            state: State::Open(cipher),
            keyed_at: now,
            records: 0,
        }
    }

    /// Removes the next data or close record from the front of `input` and opens it, and processes
    /// the REKEY records before it. Call this until it returns [`Opened::NeedMore`].
    ///
    /// # Errors
    /// The peer violated the protocol, an attacker changed bytes, the channel has reached its
    /// maximum number of records, or an earlier error ended the opener: the caller must close the
    /// connection. No byte of the record is returned.
    pub fn feed(&mut self, now: Instant, input: &mut BytesMut) -> Result<Opened, OpenError> {
        let result = self.open_next(now, input);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Reports the end of the stream. `input` holds the bytes that were read and that
    /// [`Opener::feed`] has not removed.
    ///
    /// # Errors
    /// - [`OpenError::Truncated`]: no close record was received, so data may be missing.
    /// - [`OpenError::DataAfterClose`]: `input` holds bytes that followed the close record.
    /// - [`OpenError::Failed`]: an earlier error ended the opener.
    pub fn end_of_stream(&mut self, input: &BytesMut) -> Result<(), OpenError> {
        let result = match self.state {
            State::Closed if input.is_empty() => Ok(()),
            State::Closed => Err(OpenError::DataAfterClose),
            State::Open(_) => Err(OpenError::Truncated),
            State::Failed => Err(OpenError::Failed),
        };
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// Returns whether the peer's close record was received, and no violation after it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn open_next(&mut self, now: Instant, input: &mut BytesMut) -> Result<Opened, OpenError> {
        loop {
            let cipher = match &mut self.state {
                State::Open(cipher) => cipher,
                State::Closed if input.is_empty() => return Ok(Opened::NeedMore),
                State::Closed => return Err(OpenError::DataAfterClose),
                State::Failed => return Err(OpenError::Failed),
            };
            let Some(mut record) = take_record(input)? else {
                return Ok(Opened::NeedMore);
            };
            if self.records >= MAX_RECORDS_PER_KEY {
                return Err(OpenError::RekeyOverdue);
            }
            let kind = decrypt(cipher, &mut record)?;
            self.records += 1;
            match kind {
                RecordType::Data => return Ok(Opened::Data(record)),
                RecordType::Rekey => self.rekey(now, &record)?,
                RecordType::Close => return self.close(&record),
            }
        }
    }

    fn rekey(&mut self, now: Instant, content: &[u8]) -> Result<(), OpenError> {
        if !content.is_empty() {
            return Err(OpenError::MalformedRekey);
        }
        // `records` counts the REKEY record itself too, which does not count towards the minimum.
        let too_few = self.records <= REKEY_MIN_RECORDS;
        let too_young = now.saturating_duration_since(self.keyed_at) < REKEY_MIN_AGE;
        if too_few && too_young {
            return Err(OpenError::RekeyTooSoon);
        }
        if let State::Open(cipher) = &mut self.state {
            cipher.rekey();
        }
        self.records = 0;
        self.keyed_at = now;
        Ok(())
    }

    fn close(&mut self, content: &[u8]) -> Result<Opened, OpenError> {
        let code = content.try_into().map_err(|_| OpenError::MalformedClose)?;
        self.state = State::Closed;
        Ok(Opened::Close(u16::from_be_bytes(code)))
    }

    #[cfg(test)]
    pub(super) const fn cipher_mut(&mut self) -> Option<&mut Cipher> {
        match &mut self.state {
            State::Open(cipher) => Some(cipher),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) const fn set_records(&mut self, records: u32) {
        self.records = records;
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Open(_) => "open",
            State::Closed => "closed",
            State::Failed => "failed",
        };
        f.debug_struct("Opener")
            .field("state", &state)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

/// Splits the body of the first complete record off `input`. The length is checked before the body
/// has arrived.
fn take_record(input: &mut BytesMut) -> Result<Option<BytesMut>, OpenError> {
    let Some(length) = input.first_chunk::<LENGTH_LEN>() else {
        return Ok(None);
    };
    let length = u16::from_be_bytes(*length);
    let body = usize::from(length);
    if body < MIN_BODY {
        return Err(OpenError::TooShort(length));
    }
    if body > MAX_BODY {
        return Err(OpenError::TooLong(length));
    }
    if input.len() < LENGTH_LEN + body {
        return Ok(None);
    }
    input.advance(LENGTH_LEN);
    Ok(Some(input.split_to(body)))
}

/// Decrypts `record` in place and leaves the content in it.
fn decrypt(cipher: &mut Cipher, record: &mut BytesMut) -> Result<RecordType, OpenError> {
    let (plaintext, tag) = record.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError::BadTag)?;
    cipher.decrypt(&[], plaintext, tag).map_err(|error| match error {
        CipherError::BadTag => OpenError::BadTag,
        CipherError::Exhausted => OpenError::Exhausted,
    })?;
    let kind = RecordType::try_from(plaintext[0]).map_err(OpenError::UnknownType)?;
    record.truncate(record.len() - TAG_LEN);
    record.advance(TYPE_LEN);
    Ok(kind)
}
