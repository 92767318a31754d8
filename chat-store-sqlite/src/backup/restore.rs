//! Restoring of a backup into a data directory.

use std::io;
use std::path::{Path, PathBuf};

use chat_core::model::StoreEpoch;
use rusqlite::{Connection, OpenFlags};

use super::cancellation::Cancellation;
use super::partial_copy::PartialCopy;
use super::{BackupError, cancellable, check_integrity, copy_pages};
use crate::lock::{CopyLock, DirectoryLock};
use crate::open::{self, DATABASE_FILE};
use crate::{OpenError, migrate, pairing, private};

/// Result of [`restore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// New epoch of the store. Clients that see it discard what they have saved, and read the
    /// history again.
    pub epoch: StoreEpoch,
    /// New name of the database that was in the directory before, with its write-ahead log beside
    /// it; `None` if there was no database.
    pub former: Option<PathBuf>,
}

/// Puts a copy of the database `file` in the place of the database in `directory`, and creates the
/// directory if it is missing. `file` is a backup of this or an earlier release, and stays as it
/// is.
///
/// The copy is checked (`PRAGMA integrity_check`) and synced before it gets its name, and has a new
/// epoch and a new [cluster key](chat_core::store::Store::cluster_key). The former database and its
/// write-ahead log are renamed, and can be deleted when they are no longer needed.
///
/// # Errors
/// See [`BackupError`]; [`OpenError::InUse`] while a store is open in the directory or a backup of
/// it runs, [`OpenError::Missing`] if there is no `file`. After an error, the directory has its
/// former database, with one exception: if a step fails after the copy got its name (the directory
/// is synced, and the former log is moved beside the former database), the directory has the copy,
/// and the next opening renames a log that was not moved. On a file system without hard links, a
/// crash or a second error at the end may leave the former database under its new name only.
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
    let cannot_write = |error| BackupError::Write(database.clone(), error);
    let copy = PartialCopy::create(&database).map_err(cannot_write)?;
    let epoch = copy_pages(&from, copy.path(), cancellation)?;
    check_integrity(copy.path(), cancellation)?;
    copy.give_to_owner_of_directory().map_err(cannot_write)?;
    lock.give_to_owner_of(directory).map_err(cannot_write)?;
    copy.sync().map_err(cannot_write)?;
    pairing::set_foreign_log_aside(&database).map_err(cannot_write)?;
    cancellation.check()?;
    let former = exchange(copy, &database).map_err(cannot_write)?;
    move_former_log(&database, former.as_deref()).map_err(cannot_write)?;
    Ok(Restored { epoch, former })
}

/// Puts the copy in the place of the database, whose log stays. Returns the new name of the former
/// database, or `None` if there was none.
fn exchange(copy: PartialCopy, database: &Path) -> io::Result<Option<PathBuf>> {
    // From the renaming of the copy until the log is moved, the log beside the copy belongs to the
    // former database. An opening after a crash knows that from this note.
    pairing::note_owner_of_log(database)?;
    let former = keep_former(database)?;
    put_in_place(copy, database, former.as_deref())?;
    Ok(former)
}

/// Gives the copy the name of the database, and syncs the directory. If the renaming fails, gives
/// the former database its name back, or, if it still has that name, removes `former`, its second
/// name.
fn put_in_place(copy: PartialCopy, database: &Path, former: Option<&Path>) -> io::Result<()> {
    if let Err(error) = copy.replace(database) {
        // The first error says what is wrong.
        let _ = match (former, database.try_exists()) {
            (Some(former), Ok(false)) => std::fs::rename(former, database),
            (Some(former), Ok(true)) => std::fs::remove_file(former),
            _ => Ok(()),
        };
        return Err(error);
    }
    private::sync_directory_of(database)
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

/// Moves the log of the former database beside its new name, or to a name of its own if there was a
/// log without a database, and deletes the note about the last opening.
fn move_former_log(database: &Path, former: Option<&Path>) -> io::Result<()> {
    let name_beside_lone_log = private::beside(database, &format!(".{}.replaced", StoreEpoch::random()));
    pairing::move_log_beside(database, former.unwrap_or(&name_beside_lone_log))?;
    pairing::forget_opening(database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, SqliteStore, backup};
    use chat_core::store::{AccountStore as _, Store as _};
    use chat_core::testkit::store::{new_account, transact};

    async fn create_account(store: &SqliteStore, name: &'static str) {
        let created = transact(store, move |tx| {
            Box::pin(async move { Ok(tx.create_account(new_account(name)).await?) })
        });
        created.await.unwrap();
    }

    /// The former database has no note about its last opening, as after an update from a release
    /// that wrote none.
    #[tokio::test]
    async fn restore_that_ends_before_it_moves_the_log_keeps_the_copy() {
        let (live, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = SqliteStore::open(live.path(), Options::default()).await.unwrap();
        create_account(&store, "alice").await;
        let saved = killed.path().join("backup.db");
        backup(live.path(), &saved).await.unwrap();
        create_account(&store, "bob").await;
        for name in [DATABASE_FILE, "chat.db-wal"] {
            std::fs::copy(live.path().join(name), killed.path().join(name)).unwrap();
        }

        let database = killed.path().join(DATABASE_FILE);
        let copy = PartialCopy::create(&database).unwrap();
        copy_pages(&open_backup(&saved).unwrap(), copy.path(), &Cancellation::default()).unwrap();
        exchange(copy, &database).unwrap();
        let store = SqliteStore::open(killed.path(), Options::default()).await.unwrap();
        assert!(store.account_by_name("alice").await.unwrap().is_some());
        assert!(store.account_by_name("bob").await.unwrap().is_none());
        store.close().await;
    }

    /// The former database has only its new name, as on a file system without hard links.
    #[test]
    fn former_database_is_put_back_if_the_copy_cannot_be_renamed() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join(DATABASE_FILE);
        let former = directory.path().join("former");
        std::fs::write(&former, "former").unwrap();
        let copy = PartialCopy::create(&database).unwrap();
        std::fs::remove_file(copy.path()).unwrap();
        put_in_place(copy, &database, Some(&former)).unwrap_err();
        assert_eq!(std::fs::read(&database).unwrap(), b"former");
        assert!(!former.exists());

        // With hard links, the database has both names.
        std::fs::hard_link(&database, &former).unwrap();
        let copy = PartialCopy::create(&database).unwrap();
        std::fs::remove_file(copy.path()).unwrap();
        put_in_place(copy, &database, Some(&former)).unwrap_err();
        assert_eq!(std::fs::read(&database).unwrap(), b"former");
        assert!(!former.exists());
    }
}
