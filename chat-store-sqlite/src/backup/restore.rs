//! Restoring of a backup into a data directory.

use std::io;
use std::path::{Path, PathBuf};

use chat_core::model::StoreEpoch;
use rusqlite::{Connection, OpenFlags};

use super::cancellation::Cancellation;
use super::partial::Partial;
use super::{BackupError, cancellable, check_integrity, copy_pages};
use crate::lock::{CopyLock, DirectoryLock};
use crate::open::{self, DATABASE_FILE};
use crate::{OpenError, migrate, pairing, private};

/// Result of [`restore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// New epoch of the store. Clients that see it read the whole history again.
    pub epoch: StoreEpoch,
    /// New name of the database that was in the directory before, with its write-ahead log beside
    /// it.
    pub former: Option<PathBuf>,
}

/// Puts a copy of the database `file` in the place of the database in `directory`, and creates the
/// directory if it is missing. `file` is a backup of this or an earlier release, and stays as it
/// is.
///
/// The copy is checked (`PRAGMA integrity_check`) and synced before it gets its name, and has a new
/// epoch. The former database and its write-ahead log are renamed, and can be deleted when they are
/// no longer needed.
///
/// # Errors
/// See [`BackupError`]; [`OpenError::InUse`] while a store is open in the directory or a backup of
/// it runs. After an error, the directory has its former database, unless only the removal of the
/// former log failed; then the next opening removes it.
///
/// # Cancel safety
/// As for [`backup`](crate::backup): dropping the future cancels the call soon afterwards.
pub async fn restore(directory: impl AsRef<Path>, file: impl AsRef<Path>) -> Result<Restored, BackupError> {
    let (directory, file) = (directory.as_ref().to_owned(), file.as_ref().to_owned());
    cancellable(move |cancellation| restore_blocking(&directory, &file, cancellation)).await
}

fn restore_blocking(directory: &Path, file: &Path, cancellation: &Cancellation) -> Result<Restored, BackupError> {
    let from = open_backup(file)?;
    let database = directory.join(DATABASE_FILE);
    open::create_and_sync_directory(directory).map_err(|error| OpenError::not_writable(&database, error))?;
    let lock = DirectoryLock::acquire(directory)?;
    let _copy_lock = CopyLock::for_restore(directory)?;
    let write = |error| BackupError::Write(database.clone(), error);
    let partial = Partial::create(&database).map_err(write)?;
    let epoch = copy_pages(&from, partial.path(), cancellation)?;
    check_integrity(partial.path(), cancellation)?;
    partial.give_to_owner_of_directory().map_err(write)?;
    lock.give_to_owner_of(directory).map_err(write)?;
    pairing::set_foreign_log_aside(&database).map_err(write)?;
    cancellation.check()?;
    let former = keep_former(&database).map_err(write)?;
    // From here to the last step, the log that remains belongs to another database, which the next
    // opening notices.
    partial.replace(&database).map_err(write)?;
    remove_from_use(&database, former.as_deref()).map_err(write)?;
    Ok(Restored { epoch, former })
}

/// Opens a backup for reading only, because closing a database that is open for writing moves its
/// log into it.
fn open_backup(file: &Path) -> Result<Connection, OpenError> {
    open::require_file(file)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags).map_err(|error| OpenError::sqlite(file, error))?;
    migrate::require_store(&conn, file)?;
    Ok(conn)
}

/// Gives the database a second name, under which it stays when another takes its place. Returns
/// that name, or `None` if there is no database.
fn keep_former(database: &Path) -> io::Result<Option<PathBuf>> {
    if !database.try_exists()? {
        return Ok(None);
    }
    let former = private::beside(database, &format!(".{}.replaced", StoreEpoch::random()));
    // Not every file system supports hard links.
    std::fs::hard_link(database, &former).or_else(|_| std::fs::rename(database, &former))?;
    Ok(Some(former))
}

/// Moves the log of the former database beside its new name, and forgets its last opening.
fn remove_from_use(database: &Path, former: Option<&Path>) -> io::Result<()> {
    let without_database = private::beside(database, &format!(".{}.replaced", StoreEpoch::random()));
    pairing::move_log_beside(database, former.unwrap_or(&without_database))?;
    pairing::forget(database)
}
