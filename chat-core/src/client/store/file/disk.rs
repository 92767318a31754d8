//! A locked directory, and the reading and replacing of files in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use crate::client::store::ClientStoreError;
use crate::file_names;

/// Durability of a write: `Yes` if it must survive a power failure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskSync {
    Yes,
    No,
}

/// A directory that this process has locked. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Opens and locks a directory, which is created if it does not exist.
    pub(super) fn open(path: &Path) -> Result<Self, ClientStoreError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(|source| failed(path, source))?;
        let lock_path = path.join("lock");
        let mut lock = open_private(
            OpenOptions::new().read(true).write(true).create(true).truncate(false),
            &lock_path,
        )?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut lock)),
            Err(TryLockError::Error(source)) => return Err(failed(&lock_path, source)),
        }
        // The process id is for users who want to know which process holds the lock.
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|source| failed(&lock_path, source))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the text of a file; `None` if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, ClientStoreError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(&path, source)),
        }
    }

    /// Returns the text of a file whose last write may be incomplete after a power failure; `None`
    /// if there is none. Replaces bytes that are not UTF-8.
    pub(super) fn read_torn(&self, name: &str) -> Result<Option<String>, ClientStoreError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(&path, source)),
        }
    }

    /// Replaces the text of a file. Readers see the whole old or the whole new text. With
    /// [`DiskSync::No`], a power failure may leave only a part of the new text.
    pub(super) fn replace(&self, name: &str, text: &str, sync: DiskSync) -> Result<(), ClientStoreError> {
        replace(&self.path(name), text.as_bytes(), sync)
    }
}

/// Replaces a file by a file with these bytes.
fn replace(path: &Path, bytes: &[u8], sync: DiskSync) -> Result<(), ClientStoreError> {
    put_in_place(path, bytes, sync)?;
    if sync == DiskSync::Yes {
        sync_directory_of(path)?;
    }
    Ok(())
}

/// Replaces a file by a file with these bytes, and returns it open for writing at its end. Its name
/// is not [durable](sync_directory_of) yet.
///
/// # Errors
/// The error of a file operation. The old file is unchanged.
pub(super) fn put_in_place(path: &Path, bytes: &[u8], sync: DiskSync) -> Result<File, ClientStoreError> {
    let temporary = path.with_extension("new");
    let mut file = open_private(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?;
    let written = file.write_all(bytes).and_then(|()| match sync {
        DiskSync::Yes => file.sync_all(),
        DiskSync::No => Ok(()),
    });
    written.map_err(|source| failed(&temporary, source))?;
    fs::rename(&temporary, path).map_err(|source| failed(path, source))?;
    Ok(file)
}

/// Makes the name of the file at `path` durable, by a sync of its directory.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), ClientStoreError> {
    file_names::sync_name(path).map_err(|source| failed(file_names::directory_of(path), source))
}

/// Opens a file. If it is created, only its owner may read it (on Unix).
fn open_private(options: &mut OpenOptions, path: &Path) -> Result<File, ClientStoreError> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path).map_err(|source| failed(path, source))
}

pub(super) fn failed(path: &Path, source: io::Error) -> ClientStoreError {
    ClientStoreError::File {
        path: path.display().to_string(),
        source,
    }
}

fn in_use(path: &Path, lock: &mut File) -> ClientStoreError {
    let mut holder = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut holder));
    let holder = holder.trim();
    let known = read.is_ok() && !holder.is_empty() && holder.bytes().all(|byte| byte.is_ascii_digit());
    let suffix = if known {
        format!(" (process {holder})")
    } else {
        String::new()
    };
    ClientStoreError::InUse(format!("{}{suffix}", path.display()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn directory_that_cannot_be_opened_is_not_reported_as_synced() {
        let directory = tempfile::tempdir().unwrap();
        sync_directory_of(&directory.path().join("account")).unwrap();
        let error = sync_directory_of(&directory.path().join("missing/account")).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        // The parent of a relative file name is the empty path.
        sync_directory_of(Path::new("account")).unwrap();
    }
}
