//! SQLite's errors in the port's words.

use std::path::PathBuf;

use chat_core::store::StoreError;
use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a data directory could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store in this one, has it open.
    #[error(
        "the data directory {} is in use by another process; stop that one first, or choose another directory",
        .directory.display()
    )]
    InUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The directory cannot be made, or written to.
    #[error("cannot write to the data directory {}; check that it exists, its owner and its permissions", .directory.display())]
    NotWritable {
        /// The data directory.
        directory: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// There is no room for the database.
    #[error("the disk that holds {} is full", .path.display())]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// The file is damaged, or was not made by this program.
    #[error("{} is damaged or not a database of this program; restore it from a backup, or move it away", .path.display())]
    NotADatabase {
        /// The database file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later release of this program wrote it.
    #[error(
        "{} was written by a newer release (schema {found}, this program knows {known}); run that release, or restore an older backup",
        .path.display()
    )]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// Its schema's number.
        found: u32,
        /// The newest number that this program knows.
        known: u32,
    },
    /// A migration that was applied is not the one that this program has.
    #[error("migration {version} in {} is not the one of this program", .path.display())]
    ChangedMigration {
        /// The database file.
        path: PathBuf,
        /// The migration's number.
        version: u32,
    },
    /// Anything else.
    #[error("cannot open {}", .path.display())]
    Other {
        /// The database file.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    pub(crate) fn sqlite(path: impl Into<PathBuf>, error: rusqlite::Error) -> Self {
        let path = path.into();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::NotADatabase {
                path,
                source: error.into(),
            },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::NotWritable {
                directory: path.parent().unwrap_or(&path).to_owned(),
                source: std::io::Error::other(error),
            },
            _ => Self::Other {
                path,
                source: error.into(),
            },
        }
    }
}

/// Sorts by what the caller can do about it.
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
        _ => StoreError::Corrupt(error.to_string()),
    }
}

/// The answer of a thread that is gone.
pub(crate) fn stopped() -> StoreError {
    StoreError::unavailable("the store's thread stopped before it answered")
}
