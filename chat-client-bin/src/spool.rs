//! Outboxes beside an account that another process has open.
//!
//! A process that sends through another one's session keeps its messages in an outbox of its own until they have their outcome: the
//! other one may die, or stand still. What is left behind goes out with the next run, under the same ids, so that a message which did
//! arrive is not doubled.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use chat_core::client::{AccountState, ClientStore as _, ClientStoreError, FileStore};
use chat_core::model::ClientMessageId;

/// An outbox of this process. Its directory stays when it is dropped, and goes with [`remove`](Self::remove).
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// Makes one among those at `spools`, with what an earlier process left in others.
    ///
    /// # Errors
    /// The disk's, or what was left is damaged.
    pub(crate) async fn create(
        spools: &Path,
        account: &AccountState,
        known_hosts: &Path,
    ) -> Result<(Self, FileStore), ClientStoreError> {
        // Its own id makes the name: no two are alike.
        let directory = spools.join(ClientMessageId::random().to_string());
        let store = FileStore::open(&directory, known_hosts)?;
        store.save_account(account).await?;
        adopt(&store, spools, known_hosts).await?;
        Ok((Self { directory }, store))
    }

    /// Deletes it.
    pub(crate) fn remove(self) {
        // What is left of it is empty, and the next run deletes it.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Moves what processes that are gone left in their outboxes to this one.
///
/// # Errors
/// The disk's, or what was left is damaged.
pub(crate) async fn adopt(store: &FileStore, spools: &Path, known_hosts: &Path) -> Result<(), ClientStoreError> {
    for directory in subdirectories(spools)? {
        // One without an outbox was never used, or is being made.
        if !directory.join("outbox").exists() {
            continue;
        }
        let left = match FileStore::open(&directory, known_hosts) {
            Err(ClientStoreError::InUse(_)) => continue,
            left => left?,
        };
        let waiting = left.load().await?.outbox;
        if !waiting.is_empty() {
            let has: HashSet<_> = store.load().await?.outbox.iter().map(|entry| entry.id).collect();
            let new: Vec<_> = waiting.into_iter().filter(|entry| !has.contains(&entry.id)).collect();
            store.queue(&new).await?;
        }
        // It is locked until here: nobody else has it.
        fs::remove_dir_all(&directory).map_err(|source| failed(&directory, source))?;
    }
    Ok(())
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
    paths.retain(|path| path.is_dir());
    paths.sort();
    Ok(paths)
}

fn failed(path: &Path, source: io::Error) -> ClientStoreError {
    ClientStoreError::File {
        path: path.display().to_string(),
        source,
    }
}
