//! A profile: a directory that one device of one user keeps its things in.
//!
//! ```text
//! lock      held while a process has the profile open; names the process
//! account   device, user, tokens, name of the history          replaced whole, durable
//! cursors   what the application has acknowledged              replaced whole
//! names     names of users                                     replaced whole
//! outbox    messages without an outcome                        appended and durable, rewritten when mostly settled
//! ```
//! Files are readable by their owner only. "Replaced whole": written beside, renamed over; "durable": on the disk before it counts. A power cut
//! may tear cursors and names. Torn cursors are noticed and not used: those of the server are, and events may come again. A torn name is asked
//! for again.

mod account;
mod disk;
mod lists;
mod outbox;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::client::Cursor;
use crate::model::{ClientMessageId, ConversationId, UserId};
use crate::secure::{Fingerprint, KnownHosts, KnownHostsError, KnownHostsFile};
use crate::sync::Mutex;

use super::{AccountState, ClientStore, ClientStoreError, Kept, OutboxEntry};
use disk::{Directory, Sync};
use outbox::OutboxFile;

/// A [`ClientStore`] in the files of a directory, which it keeps locked.
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
    /// Opens the profile at `directory`, which is made if there is none. Pins are kept in `known_hosts`, which several profiles may share.
    /// Blocks for a few writes to the disk.
    ///
    /// # Errors
    /// [`ClientStoreError::InUse`]: another process has it open. Otherwise the disk's errors.
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

    /// The account of a profile that another process may have open; `None` if there is none.
    ///
    /// # Errors
    /// The disk's, or the file is damaged.
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

    /// Does `work`, which waits for the disk, where waiting hurts nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ClientStoreError> + Send + 'static,
    ) -> Result<T, ClientStoreError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(ClientStoreError::Damaged {
                path: self.inner.directory.path("").display().to_string(),
                problem: error.to_string(),
            }),
        }
    }
}

impl Inner {
    fn load(&self) -> Result<Kept, ClientStoreError> {
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
        Ok(Kept {
            account,
            cursors: lists::parse_cursors(&cursors).unwrap_or_else(|problem| {
                let path = self.directory.path("cursors");
                tracing::warn!(path = %path.display(), problem, "these cursors are not used; events may come again");
                BTreeMap::new()
            }),
            names: lists::parse_names(&names),
            outbox: self.outbox.lock().entries(),
        })
    }

    fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        self.directory.replace("account", &account::format(account), Sync::Yes)
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
    async fn load(&self) -> Result<Kept, ClientStoreError> {
        self.blocking(Inner::load).await
    }

    async fn save_account(&self, account: &AccountState) -> Result<(), ClientStoreError> {
        let account = account.clone();
        self.blocking(move |inner| inner.save_account(&account)).await
    }

    async fn save_cursors(&self, cursors: &BTreeMap<ConversationId, Cursor>) -> Result<(), ClientStoreError> {
        let text = lists::format_cursors(cursors);
        // None at all: the history is another one, and those of the old one must not come back.
        let sync = if cursors.is_empty() { Sync::Yes } else { Sync::No };
        self.blocking(move |inner| inner.directory.replace("cursors", &text, sync))
            .await
    }

    async fn save_names(&self, names: &BTreeMap<UserId, String>) -> Result<(), ClientStoreError> {
        let text = lists::format_names(names);
        self.blocking(move |inner| inner.directory.replace("names", &text, Sync::No))
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
        self.blocking(|inner| inner.known_hosts.load().map_err(pins)).await
    }

    async fn pin(&self, host: &str, key: &Fingerprint) -> Result<(), ClientStoreError> {
        let (host, key) = (host.to_owned(), *key);
        self.blocking(move |inner| inner.known_hosts.remember(&host, &key, "").map_err(pins))
            .await
    }
}

fn pins(error: KnownHostsError) -> ClientStoreError {
    let cause = match &error {
        KnownHostsError::File { source, .. } => format!("{error}: {source}"),
        _ => error.to_string(),
    };
    ClientStoreError::KnownHosts(cause)
}
