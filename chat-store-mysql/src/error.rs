//! The database's errors in the port's words.

use std::path::PathBuf;

use chat_core::store::StoreError;
use mysql_async::Error;
use thiserror::Error;

/// Why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one of a database. The URL itself is not repeated: it may hold a password.
    #[error("the database's URL is wrong ({0}); write mysql://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(String),
    /// The certificates of authorities cannot be read.
    #[error("cannot read the certificates in {}", .file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be reached, or refuses us.
    #[error("cannot connect to the database; check that it runs, its address, and the user's password and rights")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database would lose what it acknowledged, or show what it may still lose.
    #[error(
        "the database is not set up to keep what it acknowledges: {}; change its settings, or allow it with \
         allow_unsafe_durability if messages may be lost",
        .0.join("; ")
    )]
    UnsafeSettings(Vec<String>),
    /// A later release of this program wrote it.
    #[error(
        "the database was written by a newer release (schema {found}, this program knows {known}); run that release"
    )]
    NewerSchema {
        /// The database's schema.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// It lacks tables, and this was not to make them.
    #[error("the database has schema {found}, this program needs {known}; run the migration first")]
    OlderSchema {
        /// The database's schema.
        found: u32,
        /// What this program needs.
        known: u32,
    },
    /// A migration that was applied is not the one that this program has.
    #[error("migration {version} in the database is not the one of this program")]
    ChangedMigration {
        /// The migration's number.
        version: u32,
    },
    /// Another process migrates, and does not end.
    #[error("another process has been migrating the database for too long; look what it waits for")]
    MigrationLocked,
    /// Anything else.
    #[error("the database cannot be prepared")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OpenError {
    pub(crate) fn other(error: Error) -> Self {
        match error {
            Error::Io(_) | Error::Driver(_) => Self::Connect(error.into()),
            other => Self::Other(other.into()),
        }
    }
}

/// A number that the server gives an error. MySQL and MariaDB agree on those named here.
pub(crate) const DUPLICATE: u16 = 1062;

/// Deadlock, lock wait timeout, changed record: the transaction is to be rolled back and run again. After a lock wait timeout
/// the server by default undoes only the statement; going on would commit the rest.
const CONFLICTS: [u16; 3] = [1213, 1205, 1020];

/// The database is not what this program made, or this program asks for nonsense: unknown column, syntax, columns that do not match,
/// unknown table, NULL, duplicate, out of range, wrong value, too long, no default. Asking again does not help.
const BROKEN: [u16; 10] = [1054, 1064, 1136, 1146, 1048, DUPLICATE, 1264, 1366, 1406, 1364];

/// Read-only, by option or as a whole. What was the primary may have become a replica.
const READ_ONLY: [u16; 2] = [1290, 1836];

/// Disk, table or temporary files full.
const FULL: [u16; 4] = [1021, 1026, 1114, 3675];

/// Whether running the unit again may help.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Server(server) if CONFLICTS.contains(&server.code))
}

pub(crate) fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::Server(server) if server.code == DUPLICATE)
}

/// Whether a client message id was used already. Servers say only in their text, and each in its language, which index was in the way; it
/// also holds the values, but of another index they are numbers.
pub(crate) fn is_sent(error: &Error) -> bool {
    is_duplicate(error) && matches!(error, Error::Server(server) if server.message.contains("event_sent'"))
}

/// Whether the server takes no writes. Another connection may lead to one that does.
pub(crate) fn is_read_only(error: &Error) -> bool {
    matches!(error, Error::Server(server) if READ_ONLY.contains(&server.code))
}

/// Sorts by what the caller can do about it. What is not known to be broken may pass: servers have many words for "not now".
pub(crate) fn store_error(error: Error) -> StoreError {
    match &error {
        Error::Server(server) if FULL.contains(&server.code) => StoreError::Full(error.into()),
        Error::Server(server) if BROKEN.contains(&server.code) => {
            StoreError::Corrupt(format!("the database refuses with {} ({})", server.code, server.state))
        }
        Error::Url(_) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::unavailable(error),
    }
}

/// The answer of a store that was closed.
pub(crate) fn closed() -> StoreError {
    StoreError::unavailable("the store was closed")
}

/// The answer when time is up.
pub(crate) fn late() -> StoreError {
    StoreError::unavailable("the database did not answer in time")
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn sorted(code: u16) -> StoreError {
        store_error(Error::Server(ServerError {
            code,
            message: String::new(),
            state: "HY000".to_owned(),
        }))
    }

    #[test]
    fn what_was_sent_is_told_from_what_is_broken() {
        let duplicate = |message: &str| {
            Error::Server(ServerError {
                code: DUPLICATE,
                message: message.to_owned(),
                state: "23000".to_owned(),
            })
        };
        for text in [
            "Duplicate entry '7-\u{1}\u{2}event' for key 'event_sent'",
            "Duplicate entry '7-x' for key 'event.event_sent'",
            "Doppelter Eintrag '7-x' für Schlüssel 'event_sent'",
            "'7-x' は索引 'event_sent' で重複しています。",
        ] {
            assert!(is_sent(&duplicate(text)), "{text}");
        }
        for text in [
            "Duplicate entry '7-1' for key 'PRIMARY'",
            "Duplicate entry '7-1' for key 'event.PRIMARY'",
        ] {
            assert!(!is_sent(&duplicate(text)), "{text}");
        }
    }

    #[test]
    fn what_may_pass_is_not_taken_for_broken() {
        // Too many connections, access changed, not the primary any more, out of memory, limits, silence, statements' time.
        for code in [
            1040, 1045, 1047, 1053, 1130, 1135, 1037, 1041, 1030, 1205, 1213, 1226, 1290, 1461, 1836, 1969, 3024, 4031,
        ] {
            assert!(matches!(sorted(code), StoreError::Unavailable(_)), "{code}");
        }
        for code in BROKEN {
            assert!(matches!(sorted(code), StoreError::Corrupt(_)), "{code}");
        }
        for code in FULL {
            assert!(matches!(sorted(code), StoreError::Full(_)), "{code}");
        }
    }
}
