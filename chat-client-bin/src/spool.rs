//! Outboxes beside an account that another process has open.
//!
//! A process that sends through another one's session keeps its messages in an outbox of its own until they have their outcome: the
//! other one may die, or stand still. What is left behind goes out with the next run, under the same ids, so that a message which did
//! arrive is not doubled.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use chat_core::client::{AccountState, ClientStore as _, ClientStoreError, FileStore, OutboxEntry};
use chat_core::model::ClientMessageId;

use crate::output::Output;

/// What the name of an outbox ends with that cannot be read.
const DAMAGED: &str = "damaged";

/// An outbox of this process. Its directory stays when it is dropped, and goes with [`remove`](Self::remove).
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// Makes one among those at `spools`, with what an earlier process left in others.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) async fn create(
        spools: &Path,
        account: &AccountState,
        known_hosts: &Path,
        output: &Output,
    ) -> Result<(Self, FileStore), ClientStoreError> {
        // Its own id makes the name: no two are alike.
        let directory = spools.join(ClientMessageId::random().to_string());
        let store = FileStore::open(&directory, known_hosts)?;
        store.save_account(account).await?;
        adopt(&store, spools, known_hosts, output).await?;
        Ok((Self { directory }, store))
    }

    /// Deletes it.
    pub(crate) fn remove(self) {
        // What is left of it is empty, and the next run deletes it.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Moves what processes that are gone left in their outboxes to this one. An outbox that cannot be used holds nothing else up: it is told of, and a
/// damaged one is set aside.
///
/// # Errors
/// The disk's.
pub(crate) async fn adopt(
    store: &FileStore,
    spools: &Path,
    known_hosts: &Path,
    output: &Output,
) -> Result<(), ClientStoreError> {
    for directory in subdirectories(spools)? {
        // One without an outbox was never used, or is being made.
        if !directory.join("outbox").exists() {
            continue;
        }
        // It is locked until it is gone: nobody else has it.
        let (left, waiting) = match waiting(&directory, known_hosts).await {
            Ok(opened) => opened,
            Err(ClientStoreError::InUse(_)) => continue,
            Err(error) => {
                output.left_alone(&set_aside(&directory, &error), &error.to_string());
                continue;
            }
        };
        if !waiting.is_empty() {
            let has: HashSet<_> = store.load().await?.outbox.iter().map(|entry| entry.id).collect();
            let new: Vec<_> = waiting.into_iter().filter(|entry| !has.contains(&entry.id)).collect();
            store.queue(&new).await?;
        }
        if let Err(error) = fs::remove_dir_all(&directory) {
            // It comes again with the next run, under the same ids.
            output.left_alone(&directory, &error.to_string());
        }
        drop(left);
    }
    Ok(())
}

/// Opens an outbox that was left behind, with what waits in it.
async fn waiting(directory: &Path, known_hosts: &Path) -> Result<(FileStore, Vec<OutboxEntry>), ClientStoreError> {
    let left = FileStore::open(directory, known_hosts)?;
    let waiting = left.load().await?.outbox;
    Ok((left, waiting))
}

/// Gives a damaged outbox a name under which no later run looks for one; returns where it is now.
fn set_aside(directory: &Path, error: &ClientStoreError) -> PathBuf {
    let aside = directory.with_extension(DAMAGED);
    let is_damaged = matches!(error, ClientStoreError::Damaged { .. });
    if is_damaged && fs::rename(directory, &aside).is_ok() {
        return aside;
    }
    directory.to_owned()
}

/// Oldest first, as far as names tell: ids begin with the time.
fn subdirectories(spools: &Path) -> Result<Vec<PathBuf>, ClientStoreError> {
    let entries = match fs::read_dir(spools) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(spools, source)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<io::Result<Vec<_>>>()
        .map_err(|source| failed(spools, source))?;
    paths.retain(|path| path.is_dir() && path.extension().is_none_or(|extension| extension != DAMAGED));
    paths.sort();
    Ok(paths)
}

fn failed(path: &Path, source: io::Error) -> ClientStoreError {
    ClientStoreError::File {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_core::model::{ConversationId, ConversationRef, DraftContent, MessageText, Timestamp};

    fn entry(text: &str) -> OutboxEntry {
        OutboxEntry {
            id: ClientMessageId::random(),
            conversation: ConversationRef::Id(ConversationId(1)),
            content: DraftContent::Message {
                text: MessageText::new(text).unwrap(),
                reply_to: None,
                mentions: Vec::new(),
                mention_all: false,
            },
            queued: Timestamp(1),
            deadline: None,
        }
    }

    #[tokio::test]
    async fn a_damaged_outbox_is_set_aside_and_the_others_go_on() {
        let profile = tempfile::tempdir().unwrap();
        let (spools, known_hosts) = (profile.path().join("spool"), profile.path().join("known_hosts"));
        let output = Output::new(true);
        let entries = ["a", "b", "c"].map(entry);
        for entry in &entries {
            // What an earlier process left, and no other process could take over.
            let directory = spools.join(entry.id.to_string());
            let left = FileStore::open(directory, &known_hosts).unwrap();
            left.save_account(&AccountState::new()).await.unwrap();
            left.queue(std::slice::from_ref(entry)).await.unwrap();
        }
        let damaged = spools.join(entries[1].id.to_string());
        fs::write(damaged.join("outbox"), "my diary").unwrap();
        let store = FileStore::open(profile.path().join("account"), &known_hosts).unwrap();
        for _ in 0..2 {
            adopt(&store, &spools, &known_hosts, &output).await.unwrap();
            let mut outbox = store.load().await.unwrap().outbox;
            outbox.sort_by_key(|entry| entry.id.0 == entries[2].id.0);
            assert_eq!(outbox, [entries[0].clone(), entries[2].clone()]);
            let left: Vec<_> = fs::read_dir(&spools)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert_eq!(left, [damaged.with_extension(DAMAGED)]);
        }
        assert_eq!(fs::read(left_outbox(&damaged)).unwrap(), b"my diary");
    }

    fn left_outbox(damaged: &Path) -> PathBuf {
        damaged.with_extension(DAMAGED).join("outbox")
    }
}
