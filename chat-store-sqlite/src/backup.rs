//! Backups: copies of a database, which a server may be using meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::model::StoreEpoch;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use crate::open::{self, DATABASE_FILE};
use crate::{OpenError, migrate, private};

/// Suffix of the name of an unfinished backup.
const PARTIAL_SUFFIX: &str = ".partial";
/// Time since the last write after which an unfinished backup counts as abandoned. A running backup
/// writes more often.
const STALE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Reason why no backup was made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The target exists. A backup never overwrites a file.
    #[error("{} exists already; choose another file name", .0.display())]
    Exists(PathBuf),
    /// The database to copy cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy cannot be made.
    #[error("cannot copy the database")]
    Copy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The copy cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The copy is damaged, and so most likely is the database.
    #[error("the copy is damaged, and so most likely is the database: {0}; restore an earlier backup")]
    Damaged(String),
}

/// Writes a copy of the database in `directory` to `target`, whether or not a server is using it.
///
/// The copy is one consistent snapshot. It is checked (`PRAGMA integrity_check`) and synced to the
/// disk before it gets its name. Only its owner can read it (mode 0600). It has a new
/// [`StoreEpoch`], because a server that starts from it goes back in history. To restore it, copy
/// it to an empty data directory under the name [`DATABASE_FILE`].
///
/// # Errors
/// See [`BackupError`]. After an error, `target` is untouched.
pub async fn backup(directory: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), BackupError> {
    copy(directory.as_ref().join(DATABASE_FILE), target.as_ref().to_owned()).await
}

pub(crate) async fn copy(source: PathBuf, target: PathBuf) -> Result<(), BackupError> {
    let copied = tokio::task::spawn_blocking(move || copy_blocking(&source, &target)).await;
    copied.unwrap_or_else(|error| Err(BackupError::Copy(error.into())))
}

fn copy_blocking(source: &Path, target: &Path) -> Result<(), BackupError> {
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    open::require_file(source)?;
    let opened = open::connect(source, OpenFlags::empty());
    let from = opened.map_err(|error| OpenError::sqlite(source, error))?;
    migrate::require_store(&from, source)?;
    let write = |error| BackupError::Write(target.to_owned(), error);
    let partial = Partial::create(target).map_err(write)?;
    copy_pages(&from, &partial.0).map_err(|error| BackupError::Copy(error.into()))?;
    check_integrity(&partial.0)?;
    partial.finish(target)
}

/// Copies all pages in one step, which takes one snapshot and does not delay writers.
fn copy_pages(from: &Connection, path: &Path) -> rusqlite::Result<()> {
    let mut to = Connection::open(path)?;
    let step = Backup::new(from, &mut to)?.step(-1)?;
    if step != StepResult::Done {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(
            busy,
            Some("the database is busy".into()),
        ));
    }
    // Leaves one file, without a write-ahead log beside it.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    open::renew_epoch(&to)?;
    to.close().map_err(|(_, error)| error)
}

fn check_integrity(path: &Path) -> Result<(), BackupError> {
    let read = |conn: &Connection| {
        let mut statement = conn.prepare("PRAGMA integrity_check")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<rusqlite::Result<Vec<_>>>()
    };
    let lines = Connection::open(path).and_then(|conn| read(&conn));
    match lines {
        Ok(lines) if lines == ["ok"] => Ok(()),
        Ok(lines) => Err(BackupError::Damaged(lines.join("; "))),
        Err(error) => Err(BackupError::Damaged(error.to_string())),
    }
}

/// An unfinished backup. Dropping it removes the file unless it was finished.
struct Partial(PathBuf);

impl Partial {
    /// Creates the file under a unique name, so that interrupted and simultaneous backups do
    /// not collide.
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        remove_stale(target, name);
        let mut partial = name.to_owned();
        partial.push(format!(".{}{PARTIAL_SUFFIX}", StoreEpoch::random()));
        let path = target.with_file_name(partial);
        private::create_new(&path)?;
        Ok(Self(path))
    }

    /// Syncs the file, and gives it the name `target`. Fails if a file of that name exists.
    fn finish(self, target: &Path) -> Result<(), BackupError> {
        let write = |error| BackupError::Write(target.to_owned(), error);
        let synced = File::open(&self.0).and_then(|file| file.sync_all());
        synced.map_err(write)?;
        // A hard link, unlike a rename, does not replace a file that was created in the meantime.
        match std::fs::hard_link(&self.0, target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(target.to_owned()));
            }
            Err(_) if target.exists() => return Err(BackupError::Exists(target.to_owned())),
            // Not every file system supports hard links.
            Err(_) => std::fs::rename(&self.0, target).map_err(write)?,
        }
        drop(self);
        let synced = File::open(directory_of(target)).and_then(|directory| directory.sync_all());
        synced.map_err(write)
    }
}

/// Removes the files that interrupted backups to `target` left behind.
fn remove_stale(target: &Path, name: &OsStr) {
    let is_partial = |found: &OsStr| {
        let (found, name) = (found.to_string_lossy(), name.to_string_lossy());
        let rest = found.strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| rest.ends_with(PARTIAL_SUFFIX))
    };
    // If the directory cannot be read, writing the backup reports the error.
    let Ok(entries) = std::fs::read_dir(directory_of(target)) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| is_partial(&entry.file_name())) {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_stale = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= STALE_AGE));
        if is_stale && std::fs::remove_file(entry.path()).is_ok() {
            tracing::info!(file = %entry.path().display(), "removed the file of an interrupted backup");
        }
    }
}

fn directory_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a rename, there is no file of this name.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

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
        let [first, second] = [(); 2].map(|()| Partial::create(&target).unwrap());
        std::fs::write(&first.0, "first").unwrap();
        first.finish(&target).unwrap();
        let late = second.finish(&target);
        assert!(matches!(late, Err(BackupError::Exists(path)) if path == target));
        assert_eq!(std::fs::read(&target).unwrap(), b"first");
        assert_eq!(names(directory.path()), ["backup.db"]);
    }

    #[test]
    fn abandoned_partial_files_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("backup.db");
        let create = |name: &str, age| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let recent = format!("backup.db.{}.partial", std::process::id());
        create(&recent, Duration::ZERO);
        create("backup.db.1.partial", STALE_AGE);
        create("backup.db.old", STALE_AGE);
        create("another.db.1.partial", STALE_AGE);
        Partial::create(&target).unwrap().finish(&target).unwrap();
        let mut expected = vec!["another.db.1.partial", "backup.db", &recent, "backup.db.old"];
        expected.sort_unstable();
        assert_eq!(names(directory.path()), expected);
    }
}
