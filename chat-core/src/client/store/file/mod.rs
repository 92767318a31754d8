//! A profile: the directory in which one device of one user keeps its state.
//!
//! ```text
//! lock      locked while a process has the profile open; names the process
//! account   device, user, tokens, the server's store epoch      replaced as a whole, durable
//! cursors   what the application has acknowledged               replaced as a whole
//! names     names of users                                      replaced as a whole
//! groups    names of the user's groups                          replaced as a whole
//! outbox    messages without an outcome    appended durably; compacted when most are settled
//! ```
//! On Unix, only their owner may read the files. "Replaced as a whole": written to a temporary file
//! that is renamed over the old one. "Durable": on disk before the call returns. A power failure
//! may tear cursors, names and groups: only a part of the new text is then on disk. Torn cursors
//! are detected and not used: the server's cursors replace them, and events may be delivered again.
//! Of torn names, the whole lines are used, and the other names are requested again. Torn groups
//! are detected and not used; the next login reports them.

mod account;
mod disk;
mod lists;
mod outbox;
mod queued;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::client::Cursor;
use crate::model::{ClientMessageId, ConversationId, UserId};
use crate::secure::{Fingerprint, KnownHosts, KnownHostsError, KnownHostsFile};
use crate::sync::Mutex;

use super::{AccountState, ClientStore, ClientStoreError, KnownGroups, OutboxEntry, SavedState};
use disk::{Directory, DiskSync};
use outbox::OutboxFile;

/// [`ClientStore`] in the files of a directory, which is locked until the store is dropped.
#[derive(Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: Directory,
    known_hosts: KnownHostsFile,
    outbox: Mutex<OutboxFile>,
}

impl FileStore {
    /// Opens the profile at `directory`, which is created if it does not exist. Keys are pinned in
    /// the file `known_hosts`, which several profiles may share. Blocks for a few disk writes.
    ///
    /// # Errors
    /// [`ClientStoreError::InUse`]: another process or another `FileStore` has the profile open.
    /// Other errors: a file cannot be read or written, or is damaged.
    pub fn open(directory: impl AsRef<Path>, known_hosts: impl Into<PathBuf>) -> Result<Self, ClientStoreError> {
        let directory = Directory::open(directory.as_ref())?;
        let outbox = OutboxFile::open(directory.path("outbox"))?;
        Ok(Self {
            inner: Arc::new(Inner {
                known_hosts: KnownHostsFile::new(known_hosts),
                outbox: Mutex::new(outbox),
                directory,
            }),
        })
    }

    /// Reads the account of a profile without locking it, so that another process may have the
    /// profile open. Returns `None` if the profile has no account.
    ///
    /// # Errors
    /// The account cannot be read, or is damaged.
    pub fn peek(directory: impl AsRef<Path>) -> Result<Option<AccountState>, ClientStoreError> {
        let path = directory.as_ref().join("account");
        let damaged = |problem| ClientStoreError::Damaged {
            path: path.display().to_string(),
            problem,
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => account::parse(&text).map(Some).map_err(damaged),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(disk::failed(&path, source)),
        }
    }

    /// Runs blocking disk work on a thread for such work, so that it does not block async tasks. A
    /// panic of the work continues in the caller.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ClientStoreError> + Send + 'static,
    ) -> Result<T, ClientStoreError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => Err(disk::failed(
                    &self.inner.directory.path(""),
                    std::io::Error::new(std::io::ErrorKind::Interrupted, cancelled),
                )),
            },
        }
    }
}

impl Inner {
    fn load(&self) -> Result<SavedState, ClientStoreError> {
        let account = match self.directory.read("account")? {
            Some(text) => account::parse(&text).map_err(|problem| self.damaged("account", problem))?,
            None => {
                let account = AccountState::new();
                self.save_account(&account)?;
                account
            }
        };
        let cursors = self.directory.read_torn("cursors")?.unwrap_or_default();
        let names = self.directory.read_torn("names")?.unwrap_or_default();
        let groups = self.directory.read_torn("groups")?.unwrap_or_default();
        Ok(SavedState {
            account,
            cursors: lists::parse_cursors(&cursors).unwrap_or_else(|problem| {
                let path = self.directory.path("cursors");
                tracing::warn!(path = %path.display(), problem, "the saved cursors are damaged and are not used; events may be delivered again");
                BTreeMap::new()
            }),
            names: lists::parse_names(&names),
            groups: lists::parse_groups(&groups),
            outbox: self.outbox.lock().entries(),
        })
    }

    fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        self.directory
            .replace("account", &account::format(account), DiskSync::Yes)
    }

    fn damaged(&self, file: &str, problem: String) -> ClientStoreError {
        ClientStoreError::Damaged {
            path: self.directory.path(file).display().to_string(),
            problem,
        }
    }
}

#[async_trait]
impl ClientStore for FileStore {
    async fn load(&self) -> Result<SavedState, ClientStoreError> {
        self.blocking(Inner::load).await
    }

    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        let account = account.clone();
        self.blocking(move |inner| inner.save_account(&account)).await
    }

    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError> {
        let text = lists::format_cursors(cursors);
        // An empty map means that the server's store was replaced. Cursors of the old epoch must
        // not reappear.
        let sync = if cursors.is_empty() {
            DiskSync::Yes
        } else {
            DiskSync::No
        };
        self.blocking(move |inner| inner.directory.replace("cursors", &text, sync))
            .await
    }

    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError> {
        let text = lists::format_names(names);
        self.blocking(move |inner| inner.directory.replace("names", &text, DiskSync::No))
            .await
    }

    async fn save_groups(&self, groups: &KnownGroups) -> Result<(), ClientStoreError> {
        let text = lists::format_groups(groups);
        self.blocking(move |inner| inner.directory.replace("groups", &text, DiskSync::No))
            .await
    }

    async fn queue(&self, entries: &[OutboxEntry]) -> Result<(), ClientStoreError> {
        let entries = entries.to_vec();
        self.blocking(move |inner| {
            let mut outbox = inner.outbox.lock();
            outbox.queue(&entries)
        })
        .await
    }

    async fn settle(&self, ids: &[ClientMessageId]) -> Result<(), ClientStoreError> {
        let ids = ids.to_vec();
        self.blocking(move |inner| {
            let mut outbox = inner.outbox.lock();
            outbox.settle(&ids)
        })
        .await
    }

    async fn known_hosts(&self) -> Result<KnownHosts, ClientStoreError> {
        self.blocking(|inner| inner.known_hosts.load().map_err(known_hosts_error))
            .await
    }

    async fn record_authority(&self, host: &str) -> Result<(), ClientStoreError> {
        let host = host.to_owned();
        self.blocking(move |inner| inner.known_hosts.remember_authority(&host).map_err(known_hosts_error))
            .await
    }

    async fn pin(&self, host: &str, key: &Fingerprint) -> Result<(), ClientStoreError> {
        let (host, key) = (host.to_owned(), *key);
        self.blocking(move |inner| inner.known_hosts.remember(&host, &key, "").map_err(known_hosts_error))
            .await
    }
}

fn known_hosts_error(error: KnownHostsError) -> ClientStoreError {
    let cause = match &error {
        KnownHostsError::File { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    };
    ClientStoreError::KnownHosts(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panics;

    #[tokio::test]
    async fn panic_during_disk_work_continues_in_the_caller() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path(), directory.path().join("known_hosts")).unwrap();
        let work = store.blocking(|_| -> Result<(), ClientStoreError> { panic!("out of order") });
        assert_eq!(panics::catch(work).await.unwrap_err().text(), "out of order");
    }
}
