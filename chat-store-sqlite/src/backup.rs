//! Backups: copies of a database, which a server may be using meanwhile.

mod cancellation;
mod partial_copy;
mod restore;

use std::io;
use std::path::{Path, PathBuf};

use chat_core::model::StoreEpoch;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use self::cancellation::Cancellation;
use self::partial_copy::PartialCopy;
pub use self::restore::{Restored, restore};
use crate::lock::{CopyLock, DirectoryLock};
use crate::open::{self, DATABASE_FILE};
use crate::{OpenError, migrate, pairing, private};

/// Number of pages that are copied between two checks for a cancellation.
const PAGES_PER_STEP: i32 = 1024;

/// Reason why no backup was made or restored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The target exists. A backup does not overwrite a file that existed when it began.
    #[error("{} exists already; choose another file name", .0.display())]
    Exists(PathBuf),
    /// The database to copy, or the data directory to restore into, cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy cannot be made.
    #[error("cannot copy the database")]
    Copy(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The copy cannot be written, synced or put in its place, or a restoration cannot rename the
    /// former database or its log.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The copy failed the integrity check, so the database is most likely damaged too.
    #[error(
        "the copy failed the integrity check, so the database is most likely damaged: {0}; restore an earlier backup"
    )]
    Damaged(String),
    /// The integrity of the copy could not be checked.
    #[error("cannot check the copy")]
    Check(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The future of the call was dropped.
    #[error("the backup was cancelled")]
    Cancelled,
}

/// Writes a copy of the database in `directory` to `target`, whether or not a server is using it.
///
/// The copy is one consistent snapshot. It is checked (`PRAGMA integrity_check`) and synced to the
/// disk before it gets its name. Only its owner can read it (mode 0600). It has a new
/// [`StoreEpoch`], because a server that starts from it goes back in history, and a new
/// [cluster key](chat_core::store::Store::cluster_key). To restore it, use
/// [`restore`](crate::restore).
///
/// # Errors
/// See [`BackupError`]; [`OpenError::InUse`] while a [`restore`](crate::restore) into `directory`
/// runs. After an error, `target` is untouched, with one exception: if only the directory of
/// `target` could not be synced, the copy is complete, but a power cut may remove it.
///
/// # Cancel safety
/// Dropping the future cancels the backup soon afterwards: a thread of the runtime stops copying
/// and removes the unfinished file, and the shutdown of the runtime waits for that thread. If the
/// backup was about to end, `target` may exist, and is then complete.
pub async fn backup(directory: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), BackupError> {
    let (directory, target) = (directory.as_ref().to_owned(), target.as_ref().to_owned());
    cancellable(move |cancellation| {
        let source = directory.join(DATABASE_FILE);
        open::require_file(&source)?;
        let _lock = CopyLock::for_backup(&directory)?;
        require_own_log(&directory, &source)?;
        copy_blocking(&source, &target, cancellation)
    })
    .await
}

/// Does the same as [`backup`] for the database `source` of an open store. That store has checked
/// to which database the write-ahead log belongs.
pub(crate) async fn copy(source: PathBuf, target: PathBuf) -> Result<(), BackupError> {
    cancellable(move |cancellation| {
        // The store may be closed before its backup ends. The lock then keeps a restoration away.
        let _lock = CopyLock::for_backup(private::directory_of(&source))?;
        copy_blocking(&source, &target, cancellation)
    })
    .await
}

/// Runs `work` on a thread of the runtime. Dropping the future cancels it.
async fn cancellable<T: Send + 'static>(
    work: impl FnOnce(&Cancellation) -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let cancellation = Cancellation::default();
    let _cancel_on_drop = cancellation.clone().cancel_on_drop();
    let done = tokio::task::spawn_blocking(move || work(&cancellation)).await;
    done.unwrap_or_else(|error| Err(BackupError::Copy(error.into())))
}

/// Fails if the write-ahead log beside the database belongs to another database. Checks nothing
/// while a store is open in `directory`: that store has checked the log, and if it is in this
/// process, closing the files after the check would release its locks on them.
fn require_own_log(directory: &Path, database: &Path) -> Result<(), OpenError> {
    let _lock = match DirectoryLock::hold_off(directory) {
        Err(OpenError::InUse { .. }) => return Ok(()),
        lock => lock?,
    };
    match pairing::has_foreign_log(database) {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::ForeignLog {
            path: database.to_owned(),
        }),
        Err(error) => Err(OpenError::not_writable(database, error)),
    }
}

fn copy_blocking(source: &Path, target: &Path, cancellation: &Cancellation) -> Result<(), BackupError> {
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    open::require_file(source)?;
    let opened = open::connect(source, OpenFlags::empty());
    let from = opened.map_err(|error| OpenError::sqlite(source, error))?;
    migrate::require_store(&from, source)?;
    let cannot_write = |error| BackupError::Write(target.to_owned(), error);
    let copy = PartialCopy::create(target).map_err(cannot_write)?;
    copy_pages(&from, copy.path(), cancellation)?;
    check_integrity(copy.path(), cancellation)?;
    copy.finish(target, cancellation)
}

/// Copies all pages of one snapshot, which does not delay writers. Then gives the copy a new epoch,
/// a new cluster key and a new [generation](pairing), and returns the epoch.
fn copy_pages(from: &Connection, path: &Path, cancellation: &Cancellation) -> Result<StoreEpoch, BackupError> {
    let failed = |error: rusqlite::Error| BackupError::Copy(error.into());
    // An open read transaction keeps the snapshot, so that commits do not restart the copy. SQLite
    // takes the snapshot at the first read, whose result does not matter.
    let snapshot = from.unchecked_transaction().map_err(failed)?;
    let any_read = "SELECT COUNT(*) FROM migration";
    snapshot.query_row(any_read, [], |_| Ok(())).map_err(failed)?;
    let mut to = Connection::open(path).map_err(failed)?;
    let copy = Backup::new(from, &mut to).map_err(failed)?;
    loop {
        cancellation.check()?;
        match copy.step(PAGES_PER_STEP).map_err(failed)? {
            StepResult::More => {}
            StepResult::Done => break,
            _ => return Err(BackupError::Copy("the database is busy".into())),
        }
    }
    drop(copy);
    // Without the mode "wal", the copy is one file, and no write-ahead log is beside it.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))
        .map_err(failed)?;
    let epoch = open::renew_epoch(&to).map_err(failed)?;
    pairing::renew_generation(&to).map_err(failed)?;
    to.close().map_err(|(_, error)| failed(error))?;
    Ok(epoch)
}

fn check_integrity(path: &Path, cancellation: &Cancellation) -> Result<(), BackupError> {
    let read = |conn: &Connection| {
        cancellation.let_interrupt(conn);
        let mut statement = conn.prepare("PRAGMA integrity_check")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.collect::<rusqlite::Result<Vec<_>>>()
    };
    let lines = Connection::open(path).and_then(|conn| read(&conn));
    cancellation.check()?;
    match lines {
        Ok(lines) if lines == ["ok"] => Ok(()),
        Ok(lines) => Err(BackupError::Damaged(lines.join("; "))),
        Err(error) => Err(unchecked(error)),
    }
}

/// Returns the error of an integrity check that did not end. Only some of these errors say that the
/// copy is damaged.
fn unchecked(error: rusqlite::Error) -> BackupError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => BackupError::Damaged(error.to_string()),
        _ => BackupError::Check(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_corruption_is_reported_as_damage() {
        use rusqlite::ffi;

        let check = |code| unchecked(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert!(matches!(check(code), BackupError::Damaged(_)), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_READ, ffi::SQLITE_CANTOPEN, ffi::SQLITE_NOMEM] {
            assert!(matches!(check(code), BackupError::Check(_)), "{code}");
        }
    }
}
