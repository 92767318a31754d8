//! Spool directories, which hold the outboxes of processes that send through an account's agent.
//!
//! The process of the agent may end or hang, so each process that uses it keeps its messages in a
//! separate outbox until they have an outcome. The next run sends the remaining messages with the
//! same message ids, so that a message that the server has stored is not duplicated.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use chat_core::client::{AccountState, ClientStore as _, ClientStoreError, FileStore, OutboxEntry};
use chat_core::model::ClientMessageId;

use crate::output::Output;

/// Extension that is added to the name of a spool directory in which a file is damaged.
const DAMAGED: &str = "damaged";

/// Spool directory of this process, which holds its outbox. Dropping the value keeps the directory;
/// [`remove`](Self::remove) deletes it.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// Creates a spool directory in `spools`, and [adopts](adopt) the messages that terminated
    /// processes left behind.
    ///
    /// # Errors
    /// The new directory or the directory `spools` cannot be read or written.
    pub(crate) async fn create(
        spools: &Path,
        account: &AccountState,
        known_hosts: &Path,
        output: &Output,
    ) -> Result<(Self, FileStore), ClientStoreError> {
        // A random id makes the name unique.
        let directory = spools.join(ClientMessageId::random().to_string());
        let store = FileStore::open(&directory, known_hosts)?;
        store.save_account(account).await?;
        adopt(&store, spools, known_hosts, output).await?;
        Ok((Self { directory }, store))
    }

    /// Deletes the spool directory.
    pub(crate) fn remove(self) {
        // If this fails, a later run deletes the directory, unless its outbox file is gone already.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Moves the messages that terminated processes left in their spools into the outbox of `store`.
/// Skips the spools of running processes. Reports and skips a spool that cannot be read, and
/// renames its directory if a file in it is damaged. Reports a spool that cannot be deleted.
///
/// # Errors
/// The directory `spools` cannot be read, or the outbox of `store` cannot be read or written.
pub(crate) async fn adopt(
    store: &FileStore,
    spools: &Path,
    known_hosts: &Path,
    output: &Output,
) -> Result<(), ClientStoreError> {
    for directory in subdirectories(spools)? {
        // A directory without an outbox file is unused, or is being created.
        if !directory.join("outbox").exists() {
            continue;
        }
        // The lock is held until the directory is deleted, so that no other process uses it.
        let (lock, entries) = match read_left_behind(&directory, known_hosts).await {
            Ok(opened) => opened,
            Err(ClientStoreError::InUse(_)) => continue,
            Err(error) => {
                output.outbox_skipped(&set_aside(&directory, &error), &error.to_string());
                continue;
            }
        };
        if !entries.is_empty() {
            let known_ids: HashSet<_> = store.load().await?.outbox.iter().map(|entry| entry.id).collect();
            let new_entries: Vec<_> = entries
                .into_iter()
                .filter(|entry| !known_ids.contains(&entry.id))
                .collect();
            store.queue(&new_entries).await?;
        }
        if let Err(error) = fs::remove_dir_all(&directory) {
            output.notice("outbox_kept", &describe_kept(&directory, &error));
        }
        drop(lock);
    }
    Ok(())
}

/// Describes a spool that could not be deleted after its messages were adopted.
fn describe_kept(directory: &Path, error: &io::Error) -> String {
    format!(
        "the messages in {0} are sent by this run, but the directory cannot be deleted: {error}; delete it, or the next \
         run sends them again with the same ids",
        directory.display()
    )
}

/// Opens and locks the outbox of a terminated process, and reads its messages.
async fn read_left_behind(
    directory: &Path,
    known_hosts: &Path,
) -> Result<(FileStore, Vec<OutboxEntry>), ClientStoreError> {
    let store = FileStore::open(directory, known_hosts)?;
    let entries = store.load().await?.outbox;
    Ok((store, entries))
}

/// Renames the directory if `error` says that a file in it is damaged, so that later runs ignore
/// it. Returns the path that the directory then has.
fn set_aside(directory: &Path, error: &ClientStoreError) -> PathBuf {
    let aside = directory.with_extension(DAMAGED);
    let is_damaged = matches!(error, ClientStoreError::Damaged { .. });
    if is_damaged && fs::rename(directory, &aside).is_ok() {
        return aside;
    }
    directory.to_owned()
}

/// Returns the spool directories that are not marked as damaged. The oldest comes first, because
/// their names are ids that begin with the time.
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
            name: None,
            store_epoch: None,
            content: DraftContent::Message {
                text: MessageText::new(text).unwrap(),
                reply_to: None,
                mentions: Vec::new(),
                mention_all: false,
            },
            queued_at: Timestamp(1),
            deadline: None,
        }
    }

    #[tokio::test]
    async fn damaged_outbox_is_renamed_and_others_are_adopted() {
        let profile = tempfile::tempdir().unwrap();
        let (spools, known_hosts) = (profile.path().join("spool"), profile.path().join("known_hosts"));
        let output = Output::new(true);
        let entries = ["a", "b", "c"].map(entry);
        for entry in &entries {
            // A terminated process left this outbox.
            let directory = spools.join(entry.id.to_string());
            let store = FileStore::open(directory, &known_hosts).unwrap();
            store.save_account(&AccountState::new()).await.unwrap();
            store.queue(std::slice::from_ref(entry)).await.unwrap();
        }
        let damaged = spools.join(entries[1].id.to_string());
        fs::write(damaged.join("outbox"), "my diary").unwrap();
        let store = FileStore::open(profile.path().join("account"), &known_hosts).unwrap();
        for _ in 0..2 {
            adopt(&store, &spools, &known_hosts, &output).await.unwrap();
            let mut outbox = store.load().await.unwrap().outbox;
            outbox.sort_by_key(|entry| entry.id.0 == entries[2].id.0);
            assert_eq!(outbox, [entries[0].clone(), entries[2].clone()]);
            let directories: Vec<_> = fs::read_dir(&spools)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            assert_eq!(directories, [damaged.with_extension(DAMAGED)]);
        }
        assert_eq!(fs::read(renamed_outbox(&damaged)).unwrap(), b"my diary");
    }

    fn renamed_outbox(damaged: &Path) -> PathBuf {
        damaged.with_extension(DAMAGED).join("outbox")
    }
}
