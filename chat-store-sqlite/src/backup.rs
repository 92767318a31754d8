//! Copies of a live database.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use crate::open::{self, DATABASE_FILE};
use crate::{OpenError, migrate, private};

/// Why there is no backup.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("{} exists already", .0.display())]
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
    /// The copy is damaged, and so, most likely, is the database.
    #[error("the copy is damaged: {0}")]
    Damaged(String),
}

/// Writes a copy of the database in `directory` to `target`, whether or not a server is using it.
///
/// The copy is one consistent snapshot. It is checked (`PRAGMA integrity_check`) and on the disk before it gets its name.
/// Only its owner can read it (mode 0600). It has a store epoch of its own, because whoever starts from it has gone back in history. To restore it, put it as
/// [`DATABASE_FILE`] into an empty data directory.
///
/// # Errors
/// See [`BackupError`]; `target` was not touched then.
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
    let opened = open::connect(source, OpenFlags::empty());
    let from = opened.map_err(|error| OpenError::sqlite(source, error))?;
    migrate::check(&from, source)?;
    let write = |error| BackupError::Write(target.to_owned(), error);
    let partial = Partial::create(target).map_err(write)?;
    fill(&from, &partial.0).map_err(|error| BackupError::Copy(error.into()))?;
    check(&partial.0)?;
    partial.finish(target).map_err(write)
}

/// All in one step: that takes one snapshot, and writers need not wait for it.
fn fill(from: &Connection, path: &Path) -> rusqlite::Result<()> {
    let mut to = Connection::open(path)?;
    let step = Backup::new(from, &mut to)?.step(-1)?;
    if step != StepResult::Done {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(
            busy,
            Some("the database is busy".into()),
        ));
    }
    // One file, without a log beside it.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    open::renew_epoch(&to)?;
    to.close().map_err(|(_, error)| error)
}

fn check(path: &Path) -> Result<(), BackupError> {
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

/// A file that is not yet a backup; removed unless it becomes one.
struct Partial(PathBuf);

impl Partial {
    /// Fails if it exists: somebody else is at it.
    fn create(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut partial = name.to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let path = target.with_file_name(partial);
        private::create_new(&path)?;
        Ok(Self(path))
    }

    fn finish(self, target: &Path) -> io::Result<()> {
        File::open(&self.0)?.sync_all()?;
        std::fs::rename(&self.0, target)?;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already if it became a backup.
        let _ = std::fs::remove_file(&self.0);
    }
}
