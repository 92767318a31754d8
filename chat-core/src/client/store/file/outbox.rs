//! File format of the outbox: a log of queued messages and of messages that have their outcome.
//!
//! ```text
//! "chat outbox 1\n"  then records:  length u32 · digest 8 bytes · kind u8 · content
//!   kind 1, queued:   a message in the format of an earlier version
//!   kind 2, settled:  client message id, 16 bytes
//!   kind 3, durable:  position of this record, u64: everything before it was on disk before it
//!   kind 4, queued:   a message in the present format
//! ```
//! [`queued`](super::queued) describes both formats of a message. Integers are big-endian. The
//! length counts the bytes after the digest. The digest is the beginning of their SHA-256. If a
//! record after the last record of kind 3 is incomplete or garbled, the file is used up to the
//! incomplete or garbled record: a crash can leave such an end, because a record is written before
//! it is durable. A garbled record before the last record of kind 3 was damaged after it had become
//! durable, and is an error.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::{disk, queued};
use crate::client::store::{ClientStoreError, OutboxEntry};
use crate::model::ClientMessageId;

const HEADER: &[u8] = b"chat outbox 1\n";
/// Bytes of the digest in a record.
const DIGEST_BYTES: usize = 8;
/// Kind of messages in the format of an earlier version.
const OLD_QUEUED: u8 = 1;
const SETTLED: u8 = 2;
const DURABLE: u8 = 3;
const QUEUED: u8 = 4;
/// Bytes of a record before its content.
const HEAD_BYTES: usize = size_of::<u32>() + DIGEST_BYTES + 1;
/// Bytes of a record of kind 3.
const DURABLE_RECORD_BYTES: usize = HEAD_BYTES + size_of::<u64>();
/// Number of settled messages from which on the file is rewritten, if they outnumber the others.
const COMPACT_AFTER: usize = 256;

/// The file and its messages.
#[derive(Debug)]
pub(super) struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Length of the header and the complete records, in bytes.
    length: u64,
    /// Messages without an outcome, in the order in which they were enqueued.
    entries: VecDeque<OutboxEntry>,
    /// Number of messages that were settled since the file was last written anew.
    settled: usize,
    /// True if a disk error left the file or its name in an unknown state. It is then rewritten
    /// before further messages are queued.
    needs_rewrite: bool,
}

impl OutboxFile {
    /// Reads the file, if there is one, and writes it anew, without settled messages and without an
    /// incomplete end. Leaves a damaged file as it is.
    pub(super) fn open(path: PathBuf) -> Result<Self, ClientStoreError> {
        let (entries, tail) = match fs::read(&path) {
            Ok(bytes) => replay(&path, &Bytes::from(bytes))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (VecDeque::new(), 0),
            Err(source) => return Err(disk::failed(&path, source)),
        };
        if tail > 0 {
            tracing::warn!(path = %path.display(), bytes = tail, "dropping the incomplete end of the outbox");
        }
        let (file, length) = write_file(&path, &entries)?;
        disk::sync_directory_of(&path)?;
        Ok(Self {
            path,
            file,
            length,
            entries,
            settled: 0,
            needs_rewrite: false,
        })
    }

    /// Returns the messages without an outcome.
    pub(super) fn entries(&self) -> Vec<OutboxEntry> {
        self.entries.iter().cloned().collect()
    }

    /// Appends messages durably. After an error, none of them counts as queued.
    pub(super) fn queue(&mut self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError> {
        if self.needs_rewrite {
            self.rewrite()?;
        }
        let mut records = BytesMut::new();
        entries.iter().for_each(|entry| put_queued(&mut records, entry));
        let before = self.length;
        self.append(&records)?;
        if let Err(source) = self.file.sync_data() {
            // The disk may have lost earlier records too.
            self.length = before;
            self.needs_rewrite = true;
            return Err(disk::failed(&self.path, source));
        }
        self.entries.extend(entries.iter().cloned());
        // Without the record of kind 3, damage to these messages would later look like an end that
        // a crash cut off. The messages are durable in any case.
        if let Err(error) = self.append(&durable_record(self.length)) {
            tracing::warn!(%error, "messages are in the outbox, but the record that says so could not be written; later damage to them may go unnoticed");
        }
        Ok(())
    }

    /// Records that messages have their outcome. The records are not made durable, because the loss
    /// of one only causes another send. Rewrites the file once most messages in it are settled.
    pub(super) fn settle(&mut self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError> {
        // The search is short: the oldest message is usually the first to have its outcome.
        for id in ids {
            let at = self.entries.iter().position(|entry| entry.id == *id);
            at.and_then(|at| self.entries.remove(at));
        }
        self.settled += ids.len();
        let mut records = BytesMut::new();
        for id in ids {
            put_record(&mut records, SETTLED, &id.0);
        }
        self.append(&records)?;
        if self.settled >= COMPACT_AFTER && self.settled > self.entries.len() {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Appends complete records. Overwrites what a failed attempt left.
    fn append(&mut self, records: &[u8]) -> Result<(), ClientStoreError> {
        let written = self
            .file
            .set_len(self.length)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.length)))
            .and_then(|_| self.file.write_all(records));
        written.map_err(|source| disk::failed(&self.path, source))?;
        self.length += records.len() as u64;
        Ok(())
    }

    /// Replaces the file by one that contains only the messages without an outcome.
    fn rewrite(&mut self) -> Result<(), ClientStoreError> {
        let (file, length) = write_file(&self.path, &self.entries)?;
        // From here on the name belongs to the new file, whether or not the name survives a power
        // failure.
        (self.file, self.length, self.settled) = (file, length, 0);
        self.needs_rewrite = true;
        disk::sync_directory_of(&self.path)?;
        self.needs_rewrite = false;
        Ok(())
    }
}

/// Writes a durable file with `entries` only, and returns it with its length. Its name is not
/// durable yet.
fn write_file(path: &Path, entries: &VecDeque<OutboxEntry>) -> Result<(File, u64), ClientStoreError> {
    let mut bytes = BytesMut::from(HEADER);
    entries.iter().for_each(|entry| put_queued(&mut bytes, entry));
    let durable_record = durable_record(bytes.len() as u64);
    bytes.extend_from_slice(&durable_record);
    let file = disk::put_in_place(path, &bytes, disk::DiskSync::Yes)?;
    Ok((file, bytes.len() as u64))
}

/// Returns the record that declares everything before `at`, its own position, durable.
fn durable_record(at: u64) -> BytesMut {
    let mut record = BytesMut::new();
    put_record(&mut record, DURABLE, &at.to_be_bytes());
    record
}

fn put_queued(out: &mut BytesMut, entry: &OutboxEntry) {
    put_record(out, QUEUED, &queued::encode(entry));
}

fn put_record(out: &mut BytesMut, kind: u8, content: &[u8]) {
    let digest = digest(kind, content);
    let length = u32::try_from(content.len() + 1).expect("a message is smaller than 4 GiB");
    out.put_u32(length);
    out.put_slice(&digest);
    out.put_u8(kind);
    out.put_slice(content);
}

fn digest(kind: u8, content: &[u8]) -> [u8; DIGEST_BYTES] {
    let digest = Sha256::new().chain_update([kind]).chain_update(content).finalize();
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}

/// Reads all records. Returns the messages without an outcome, and the number of bytes from the
/// first incomplete or garbled record to the end.
fn replay(path: &Path, all: &Bytes) -> Result<(VecDeque<OutboxEntry>, usize), ClientStoreError> {
    let mut entries = VecDeque::new();
    // A file gets its name only when it is complete, so another program wrote or truncated a file
    // without the header.
    if !all.starts_with(HEADER) {
        return Err(damaged(
            path,
            "this file is not an outbox of this version; move it away to continue (its unsent messages are then lost)",
        ));
    }
    let mut bytes = all.slice(HEADER.len()..);
    while let Some((kind, mut content, length)) = next_record(&bytes) {
        match kind {
            QUEUED | OLD_QUEUED => {
                let entry = queued::decode(&mut content, kind == QUEUED);
                entries.push_back(entry.ok_or_else(|| {
                    damaged(
                        path,
                        "a message is unreadable; move the file away to continue (its unsent messages are then lost)",
                    )
                })?);
            }
            SETTLED => {
                let id = ClientMessageId::try_from(&content[..]).map_err(|_| {
                    damaged(
                        path,
                        "a record is unreadable; move the file away to continue (its unsent messages are then lost)",
                    )
                })?;
                entries.retain(|entry: &OutboxEntry| entry.id != id);
            }
            DURABLE => {}
            _ => return Err(damaged(path, "a later version wrote this file; use that version")),
        }
        bytes.advance(length);
    }
    if has_durable_record(all, all.len() - bytes.len()) {
        return Err(damaged(
            path,
            "stored records are garbled; move the file away to continue (its unsent messages are then lost)",
        ));
    }
    Ok((entries, bytes.len()))
}

/// Returns whether a record of kind 3 after position `from` declares the bytes at `from` durable.
fn has_durable_record(all: &Bytes, from: usize) -> bool {
    let length = u32::try_from(DURABLE_RECORD_BYTES - HEAD_BYTES + 1)
        .expect("the length is a few bytes")
        .to_be_bytes();
    all[from..]
        .windows(DURABLE_RECORD_BYTES)
        .zip(from..)
        .any(|(bytes, at)| {
            // The first comparison excludes nearly all positions.
            bytes.starts_with(&length) && *bytes == *durable_record(at as u64)
        })
}

/// Returns the kind, the content and the whole length of the first record, or `None` if there is no
/// record, or it is incomplete or garbled.
fn next_record(bytes: &Bytes) -> Option<(u8, Bytes, usize)> {
    let mut rest = bytes.clone();
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    if length == 0 || rest.len() < DIGEST_BYTES.checked_add(length)? {
        return None;
    }
    let expected = rest.split_to(DIGEST_BYTES);
    let mut content = rest.split_to(length);
    let kind = content.get_u8();
    (digest(kind, &content) == *expected).then_some((kind, content, HEAD_BYTES - 1 + length))
}

fn damaged(path: &Path, problem: &str) -> ClientStoreError {
    ClientStoreError::Damaged {
        path: path.display().to_string(),
        problem: problem.to_owned(),
    }
}
