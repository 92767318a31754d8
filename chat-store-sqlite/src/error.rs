//! Errors of opening a data directory, and the conversion of SQLite errors to store errors.

use std::path::{Path, PathBuf};

use chat_core::store::StoreError;
use rusqlite::ErrorCode;
use thiserror::Error;

/// Reason why a data directory could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store in this process, has the directory open, or a backup or a
    /// restoration excludes the call.
    #[error(
        "the data directory {} is in use, most likely by another process; stop that process first, or choose another \
         directory",
        .directory.display()
    )]
    InUse {
        /// Path of the data directory.
        directory: PathBuf,
    },
    /// The directory or its database cannot be created, opened or written to.
    #[error("cannot write to the data directory {}; check that it exists, its owner and its permissions", .directory.display())]
    NotWritable {
        /// Path of the data directory.
        directory: PathBuf,
        /// Error of the operating system or of SQLite.
        #[source]
        source: std::io::Error,
    },
    /// The user that runs this program may not access a file or directory of the store.
    #[error(
        "permission denied for {}; run this program as the owner of the store, or give the file to the user that runs \
         the server (chown)",
        .path.display()
    )]
    PermissionDenied {
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The database file holds nothing, not even the tables of an empty store.
    #[error("{} is empty and holds no store; restore a backup in its place, or create the store first", .path.display())]
    Empty {
        /// Path of the database file.
        path: PathBuf,
    },
    /// There is no database, and the call creates none:
    /// [`Options::migrate`](crate::Options::migrate) is not set, or the call renews the epoch,
    /// makes a backup, or restores a backup that is missing.
    #[error("there is no database {}; check the path, or create the database first", .path.display())]
    Missing {
        /// Path of the database file.
        path: PathBuf,
    },
    /// The database lacks migrations, and [`Options::migrate`](crate::Options::migrate) is not set.
    #[error("{} has schema {found}, this program needs {known}; migrate the database first", .path.display())]
    OlderSchema {
        /// Path of the database file.
        path: PathBuf,
        /// Number of the schema in the file.
        found: u32,
        /// Number of the schema that this program needs.
        known: u32,
    },
    /// The directory cannot be locked, for example because its file system has no file locks.
    #[error("cannot lock the data directory {}; choose a directory on a file system with file locks", .directory.display())]
    CannotLock {
        /// Path of the data directory.
        directory: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The write-ahead log beside the database belongs to another database, and the call (a backup)
    /// does not change the directory.
    #[error(
        "the write-ahead log beside {} belongs to another database, which was replaced; restore a backup, or start the \
         server, which sets the log aside",
        .path.display()
    )]
    ForeignLog {
        /// Path of the database file.
        path: PathBuf,
    },
    /// The disk has no space for the database.
    #[error("the disk that holds {} is full; free some space, then start again", .path.display())]
    Full {
        /// Path of the database file.
        path: PathBuf,
    },
    /// The file is damaged, or this program did not create it.
    #[error("{} is damaged or not a database of this program; restore it from a backup, or move it away", .path.display())]
    NotADatabase {
        /// Path of the database file.
        path: PathBuf,
        /// Reason why the file cannot be used.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later release of this program wrote the database.
    #[error(
        "{} was written by a newer release (schema {found}, this program knows {known}); run that release, or restore an older backup",
        .path.display()
    )]
    NewerSchema {
        /// Path of the database file.
        path: PathBuf,
        /// Number of the schema in the file.
        found: u32,
        /// Newest schema that this program knows.
        known: u32,
    },
    /// The text of an applied migration differs from that of this program.
    #[error("migration {version} in {} differs from that of this program; run the release that wrote the database, or restore a backup", .path.display())]
    ChangedMigration {
        /// Path of the database file.
        path: PathBuf,
        /// Number of the migration.
        version: u32,
    },
    /// Any other error.
    #[error("cannot open {}", .path.display())]
    Other {
        /// Path of the database file.
        path: PathBuf,
        /// Cause of the error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// Returns the error for `file`, a file of the store that cannot be created, opened or written.
    pub(crate) fn not_writable(file: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::PermissionDenied && file.exists() {
            let path = file.to_owned();
            return Self::PermissionDenied { path, source };
        }
        Self::NotWritable {
            directory: file.parent().unwrap_or(file).to_owned(),
            source,
        }
    }

    pub(crate) fn sqlite(path: impl Into<PathBuf>, error: rusqlite::Error) -> Self {
        let path = path.into();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::NotADatabase {
                path,
                source: error.into(),
            },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                // A file that an earlier start has left beside the database may be the culprit.
                let files = ["", "-wal", "-shm"].map(|suffix| crate::private::beside(&path, suffix));
                let mut existing = files.into_iter().filter(|file| file.exists());
                match existing.find_map(|file| access_error(&file).map(|source| (file, source))) {
                    Some((file, source)) => Self::not_writable(&file, source),
                    None => Self::not_writable(&path, std::io::Error::other(error)),
                }
            }
            _ => Self::Other {
                path,
                source: error.into(),
            },
        }
    }
}

/// Returns the error with which the operating system refuses access to `path`, if it does: SQLite
/// does not report it. Does not open the file, because closing a file releases all locks that this
/// process has on it.
#[cfg(unix)]
fn access_error(path: &Path) -> Option<std::io::Error> {
    let wanted = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    rustix::fs::access(path, wanted).err().map(std::io::Error::from)
}

#[cfg(not(unix))]
fn access_error(_: &Path) -> Option<std::io::Error> {
    None
}

/// Maps an error of SQLite to what the caller can do about it.
pub(crate) fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(error.into()),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted
            | ErrorCode::OperationAborted,
        ) => StoreError::unavailable(error),
        // An error without a code comes from decoding a row, or from a row that is missing.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => StoreError::Corrupt(error.to_string()),
        Some(_) => StoreError::Defect(error.to_string()),
    }
}

/// Returns the error of a request whose thread ended, or panicked during the request, before it
/// answered.
pub(crate) fn stopped() -> StoreError {
    StoreError::unavailable("a thread of the store ended or panicked before it answered")
}
