//! [`PartialCopy`]: the file of an unfinished backup or restoration.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::model::StoreEpoch;

use super::BackupError;
use super::cancellation::Cancellation;
use crate::private;

/// Suffix of the name of an unfinished copy.
const SUFFIX: &str = ".partial";
/// Time since the last write after which an unfinished copy counts as abandoned on a file system
/// without locks. A running backup or restoration writes more often.
const STALE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The unfinished copy of a database that a backup or a restoration makes. Dropping it removes the
/// file unless [`finish`](Self::finish) or [`replace`](Self::replace) has given it its final name.
///
/// The file is locked while this exists. The operating system frees the lock when the process ends,
/// for any reason, so a file that is not locked is abandoned. On a file system without locks, the
/// age of the file decides.
pub(super) struct PartialCopy {
    path: PathBuf,
    /// The locked file. It stays open while SQLite uses it in this process, because closing it
    /// would release the locks that SQLite has on it.
    file: File,
}

impl PartialCopy {
    /// Creates the file under a unique name, so that interrupted and simultaneous backups or
    /// restorations do not collide. Removes the files that interrupted ones to the same target left
    /// behind.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        remove_abandoned(target, name);
        loop {
            let mut partial = name.to_owned();
            partial.push(format!(".{}{SUFFIX}", StoreEpoch::random()));
            let path = target.with_file_name(partial);
            let file = private::create_new(&path)?;
            // Another backup or restoration may lock and remove the file before it is locked here.
            // On a file system without locks, the attempt fails with another error.
            let is_ours = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
            if is_ours && path.try_exists()? {
                return Ok(Self { path, file });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file to the owner of its directory.
    pub(super) fn give_to_owner_of_directory(&self) -> io::Result<()> {
        private::give_to_owner_of_directory(&self.file, &self.path)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Syncs the file, gives it the name `target`, and syncs its directory. Fails if a file of that
    /// name exists, or if the backup was cancelled.
    pub(super) fn finish(self, target: &Path, cancellation: &Cancellation) -> Result<(), BackupError> {
        let cannot_write = |error| BackupError::Write(target.to_owned(), error);
        self.sync().map_err(cannot_write)?;
        // The backup may have been cancelled meanwhile, because syncing a large file takes long.
        cancellation.check()?;
        // A hard link, unlike a rename, does not replace a file that was created in the meantime.
        match std::fs::hard_link(&self.path, target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(target.to_owned()));
            }
            Err(_) if target.exists() => return Err(BackupError::Exists(target.to_owned())),
            // Not every file system supports hard links. The rename replaces a file that is created
            // after the check above.
            Err(_) => std::fs::rename(&self.path, target).map_err(cannot_write)?,
        }
        drop(self);
        private::sync_directory_of(target).map_err(cannot_write)
    }

    /// Gives the file, which was synced, the name `target`. Replaces a file of that name.
    pub(super) fn replace(self, target: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, target)
    }
}

impl Drop for PartialCopy {
    fn drop(&mut self) {
        // After a rename, there is no file of this name, and the removal fails.
        let _ = remove(&self.path);
    }
}

/// Removes the files that interrupted backups or restorations to `target` left behind.
fn remove_abandoned(target: &Path, name: &OsStr) {
    let is_partial = |found: &OsStr| {
        let (found, name) = (found.to_string_lossy(), name.to_string_lossy());
        let rest = found.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| rest.ends_with(SUFFIX))
    };
    // If the directory cannot be read, writing the backup reports the error.
    let Ok(entries) = std::fs::read_dir(private::directory_of(target)) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| is_partial(&entry.file_name())) {
        if remove_if_abandoned(&entry.path()).unwrap_or(false) {
            tracing::info!(file = %entry.path().display(), "removed the file of an interrupted backup or restoration");
        }
    }
}

/// Removes the file of an unfinished backup or restoration unless that still runs. Returns whether
/// it removed the file.
fn remove_if_abandoned(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(false);
    }
    let file = private::options().open(path)?;
    let is_abandoned = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => {
            let modified = file.metadata()?.modified()?;
            modified.elapsed().is_ok_and(|age| age >= STALE_AGE)
        }
    };
    if is_abandoned {
        remove(path)?;
    }
    Ok(is_abandoned)
}

/// Removes a file, and before it the journal that SQLite may have kept beside it.
fn remove(path: &Path) -> io::Result<()> {
    let mut journal = OsString::from(path);
    journal.push("-journal");
    let _ = std::fs::remove_file(journal);
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn file_created_meanwhile_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("backup.db");
        let [first, second] = [(); 2].map(|()| PartialCopy::create(&target).unwrap());
        std::fs::write(first.path(), "first").unwrap();
        first.finish(&target, &Cancellation::default()).unwrap();
        let late = second.finish(&target, &Cancellation::default());
        assert!(matches!(late, Err(BackupError::Exists(path)) if path == target));
        assert_eq!(std::fs::read(&target).unwrap(), b"first");
        assert_eq!(names(directory.path()), ["backup.db"]);
    }

    #[test]
    fn abandoned_partial_files_are_removed_and_those_of_running_backups_kept() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("backup.db");
        let running = PartialCopy::create(&target).unwrap();
        for name in [
            "backup.db.1.partial",
            "backup.db.1.partial-journal",
            "backup.db.old",
            "another.db.1.partial",
        ] {
            File::create(directory.path().join(name)).unwrap();
        }
        PartialCopy::create(&target)
            .unwrap()
            .finish(&target, &Cancellation::default())
            .unwrap();
        let running_name = running.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected = vec!["another.db.1.partial", "backup.db", &running_name, "backup.db.old"];
        expected.sort_unstable();
        assert_eq!(names(directory.path()), expected);
        drop(running);
        assert!(!names(directory.path()).contains(&running_name));
    }
}
