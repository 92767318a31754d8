//! The outbox: a log of messages that were written, and of those that have their outcome.
//!
//! ```text
//! "chat outbox 1\n"  then records:  length u32 · digest 8 bytes · kind u8 · content
//!   kind 1, queued:   queued i64 · deadline i64 (0: none) · the request that sends it, as the protocol encodes it
//!   kind 2, settled:  client message id, 16 bytes
//! ```
//! Integers are big-endian; the length counts what follows the digest, which is the beginning of its SHA-256. What a crash cut off at the end is
//! dropped: it was never reported as queued.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::{ClientStoreError, OutboxEntry, disk};
use crate::codec::{RequestId, RequestKind, client::encode_command, frame::PREFIX, server::decode_request};
use crate::model::{ClientMessageId, Command, Draft, MessageText, Timestamp};

const HEADER: &[u8] = b"chat outbox 1\n";
const DIGEST: usize = 8;
const QUEUED: u8 = 1;
const SETTLED: u8 = 2;
/// Settled messages after which the file is rewritten, once they outnumber the others.
const COMPACT_AFTER: usize = 256;

/// The file and what it says.
#[derive(Debug)]
pub(super) struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be whole records.
    length: u64,
    entries: VecDeque<OutboxEntry>,
    settled: usize,
}

impl OutboxFile {
    /// Reads the file and drops a tail that was cut off.
    pub(super) fn open(path: PathBuf) -> Result<Self, ClientStoreError> {
        let (entries, tail) = match fs::read(&path) {
            Ok(bytes) => replay(&path, Bytes::from(bytes))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (VecDeque::new(), 0),
            Err(source) => return Err(disk::failed(&path, source)),
        };
        if tail > 0 {
            tracing::warn!(path = %path.display(), bytes = tail, "dropping a cut-off end of the outbox");
        }
        let mut outbox = Self {
            file: rewrite(&path, &entries)?,
            path,
            length: 0,
            entries,
            settled: 0,
        };
        outbox.length = outbox.end()?;
        Ok(outbox)
    }

    /// Messages without an outcome.
    pub(super) fn entries(&self) -> Vec<OutboxEntry> {
        self.entries.iter().cloned().collect()
    }

    /// Appends messages; durable once this returns.
    pub(super) fn queue(&mut self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError> {
        let mut records = BytesMut::new();
        entries.iter().for_each(|entry| put_queued(&mut records, entry));
        self.append(&records)?;
        self.file
            .sync_data()
            .map_err(|source| disk::failed(&self.path, source))?;
        self.entries.extend(entries.iter().cloned());
        Ok(())
    }

    /// Notes that messages have their outcome; not made durable, as that costs nobody anything.
    pub(super) fn settle(&mut self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError> {
        let mut records = BytesMut::new();
        for id in ids {
            put_record(&mut records, SETTLED, &id.0);
        }
        self.append(&records)?;
        // The oldest is nearly always the first to have its outcome.
        for id in ids {
            let at = self.entries.iter().position(|entry| entry.id == *id);
            at.and_then(|at| self.entries.remove(at));
        }
        self.settled += ids.len();
        if self.settled >= COMPACT_AFTER && self.settled > self.entries.len() {
            self.file = rewrite(&self.path, &self.entries)?;
            self.length = self.end()?;
            self.settled = 0;
        }
        Ok(())
    }

    /// Appends whole records; what a failed attempt left is overwritten by the next.
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

    fn end(&mut self) -> Result<u64, ClientStoreError> {
        self.file
            .seek(SeekFrom::End(0))
            .map_err(|source| disk::failed(&self.path, source))
    }
}

/// Writes a file of `entries` alone, and opens it.
fn rewrite(path: &Path, entries: &VecDeque<OutboxEntry>) -> Result<File, ClientStoreError> {
    let mut bytes = BytesMut::from(HEADER);
    entries.iter().for_each(|entry| put_queued(&mut bytes, entry));
    disk::replace(path, &bytes, disk::Sync::Yes)?;
    disk::private(OpenOptions::new().read(true).write(true), path)
}

fn put_queued(out: &mut BytesMut, entry: &OutboxEntry) {
    let mut content = BytesMut::new();
    content.put_i64(entry.queued.0);
    content.put_i64(entry.deadline.map_or(0, |deadline| deadline.0));
    let command = Command::Send {
        conversation: entry.conversation.clone(),
        draft: Draft {
            client_message_id: entry.id,
            content: entry.content.clone(),
        },
    };
    encode_command(RequestId(1), &command, &mut content);
    put_record(out, QUEUED, &content);
}

fn put_record(out: &mut BytesMut, kind: u8, content: &[u8]) {
    let digest = digest(kind, content);
    let length = u32::try_from(content.len() + 1).expect("a message is smaller than 4 GiB");
    out.put_u32(length);
    out.put_slice(&digest);
    out.put_u8(kind);
    out.put_slice(content);
}

fn digest(kind: u8, content: &[u8]) -> [u8; DIGEST] {
    let digest = Sha256::new().chain_update([kind]).chain_update(content).finalize();
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}

/// What the records say, and how many bytes at the end are no whole record.
fn replay(path: &Path, mut bytes: Bytes) -> Result<(VecDeque<OutboxEntry>, usize), ClientStoreError> {
    let mut entries = VecDeque::new();
    // It gets its name with its beginning in it: a shorter one was cut by somebody else.
    if !bytes.starts_with(HEADER) {
        return Err(damaged(
            path,
            "this is no outbox of this version; move it away to go on (what waits in it is then never sent)",
        ));
    }
    bytes.advance(HEADER.len());
    while let Some((kind, mut content, length)) = next_record(&bytes) {
        match kind {
            QUEUED => {
                entries.push_back(read_queued(&mut content).ok_or_else(|| damaged(path, "a message is unreadable"))?)
            }
            SETTLED => {
                let id =
                    ClientMessageId::from_slice(&content).ok_or_else(|| damaged(path, "a record is unreadable"))?;
                entries.retain(|entry: &OutboxEntry| entry.id != id);
            }
            _ => return Err(damaged(path, "it was written by a later version")),
        }
        bytes.advance(length);
    }
    Ok((entries, bytes.len()))
}

fn next_record(bytes: &Bytes) -> Option<(u8, Bytes, usize)> {
    let mut rest = bytes.clone();
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    if length == 0 || rest.len() < DIGEST.checked_add(length)? {
        return None;
    }
    let expected = rest.split_to(DIGEST);
    let mut content = rest.split_to(length);
    let kind = content.get_u8();
    (digest(kind, &content) == *expected).then_some((kind, content, size_of::<u32>() + DIGEST + length))
}

fn read_queued(content: &mut Bytes) -> Option<OutboxEntry> {
    let queued = Timestamp(content.try_get_i64().ok()?);
    let deadline = content.try_get_i64().ok()?;
    if content.len() < PREFIX {
        return None;
    }
    content.advance(PREFIX);
    let request = decode_request(content.clone(), MessageText::MAX_BYTES).ok()?;
    let RequestKind::Command(Command::Send { conversation, draft }) = request.kind else {
        return None;
    };
    Some(OutboxEntry {
        id: draft.client_message_id,
        conversation,
        content: draft.content,
        queued,
        deadline: (deadline != 0).then_some(Timestamp(deadline)),
    })
}

fn damaged(path: &Path, problem: &str) -> ClientStoreError {
    ClientStoreError::Damaged {
        path: path.display().to_string(),
        problem: problem.to_owned(),
    }
}
