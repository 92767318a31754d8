//! Errors of opening a database, and the conversion of driver errors to store errors.

use std::path::PathBuf;

use chat_core::store::{Heartbeat, StoreError};
use mysql_async::{Error, IoError};
use thiserror::Error;

/// Reason why a store could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL cannot be parsed, names no database, or contains a character of the user or password
    /// that has to be escaped. The error does not repeat the URL, which may contain a password.
    #[error("the database's URL is wrong ({0}); write mysql://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(String),
    /// [`Options::ca_file`](crate::Options::ca_file) is set, but this program was built without the
    /// feature `tls`.
    #[error(
        "a CA file for the database is set, but this program was built without TLS to the database; build it with the \
         feature tls, or remove the setting"
    )]
    NoTls,
    /// The file of CA certificates cannot be read.
    #[error("cannot read the certificates in {}", .file.display())]
    Authorities {
        /// Path of the file.
        file: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be reached, does not exist, or rejects the connection, or the connection
    /// was lost while the store was opened.
    #[error("cannot connect to the database; check that it runs, its address, and the user's password and rights")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// With its settings, the database may lose acknowledged commits, or show commits that it may
    /// still lose.
    #[error(
        "the settings of the database may lose acknowledged commits: {}; change its settings, or allow it with \
         allow_unsafe_durability if messages may be lost",
        .0.join("; ")
    )]
    UnsafeSettings(Vec<String>),
    /// A later release of this program wrote the database.
    #[error(
        "the database was written by a newer release (schema {found}, this program knows {known}); run that release"
    )]
    NewerSchema {
        /// Number of the schema in the database.
        found: u32,
        /// Newest schema that this program knows.
        known: u32,
    },
    /// The database lacks migrations, and [`Options::migrate`](crate::Options::migrate) is not set;
    /// or [`renew_epoch`](crate::MysqlStore::renew_epoch) found no store (`found` is then 0).
    #[error(
        "the database has schema {found} (0 if it holds no store), this program needs {known}; migrate the database \
         first, or check the URL"
    )]
    OlderSchema {
        /// Number of the schema in the database.
        found: u32,
        /// Number of the schema that this program needs.
        known: u32,
    },
    /// The database lacks migrations, and its user may not create or change tables.
    #[error(
        "the database has schema {found}, this program needs {known}, and the user of the URL may not create or change tables; \
         run the migration as a user who may"
    )]
    MissingPrivileges {
        /// Number of the schema in the database.
        found: u32,
        /// Number of the schema that this program needs.
        known: u32,
        /// Error of the database.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The text of an applied migration differs from that of this program, or the database has no
    /// record of the migration although later ones are applied.
    #[error(
        "migration {version} in the database differs from that of this program, or its record is missing; run the release that wrote the database, or restore a backup"
    )]
    ChangedMigration {
        /// Number of the migration.
        version: u32,
    },
    /// Nodes use the database, so it cannot get a new epoch: they would keep the old one, and
    /// reject all requests from their next heartbeat on.
    #[error(
        "{nodes} of the nodes that use the database were alive within the last {} s; stop all nodes, wait that long, \
         and try again",
        Heartbeat::PEER_TIMEOUT.as_secs()
    )]
    InUse {
        /// Number of these nodes.
        nodes: u64,
    },
    /// Any other error of the database.
    #[error("cannot prepare the database")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OpenError {
    /// Maps an error of the driver.
    pub(crate) fn from_driver(error: Error) -> Self {
        match error {
            Error::Io(_) | Error::Driver(_) => Self::cannot_connect(error),
            other => Self::Other(other.into()),
        }
    }

    /// Returns the error of a connection that cannot be made or was lost.
    pub(crate) fn cannot_connect(error: Error) -> Self {
        Self::Connect(cause(error))
    }

    /// Converts an error of a migration to [`Self::MissingPrivileges`] if the user of the database
    /// may not execute a statement; returns other errors unchanged. `found` is the schema of the
    /// database, `known` that of this program.
    pub(crate) fn explain_privileges(self, found: u32, known: u32) -> Self {
        match self {
            Self::Other(source) if is_denied(&*source) => Self::MissingPrivileges { found, known, source },
            other => other,
        }
    }
}

/// Error numbers of statements that the user may not execute: access to the database denied,
/// command denied, column denied, privilege missing.
const DENIED_ERRORS: [u16; 4] = [1044, 1142, 1143, 1227];

fn is_denied(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(Error::Server(server)) if DENIED_ERRORS.contains(&server.code))
}

/// Error number of a duplicate key. No number in the constants of this file has different meanings
/// in MySQL and MariaDB; some exist in one of them only.
pub(crate) const DUPLICATE: u16 = 1062;

/// Error numbers of conflicts with another transaction: deadlock, lock wait timeout, changed
/// record. The store rolls the transaction back, and runs it again if its deadline leaves time for
/// that. After a lock wait timeout, the server by default undoes only the statement, so a commit
/// would store what the others wrote.
const CONFLICT_ERRORS: [u16; 3] = [1213, 1205, 1020];

/// Error numbers that occur if the schema differs from that of this program, or if a statement is
/// wrong: unknown column, syntax, column count, unknown table, NULL, duplicate, out of range, wrong
/// value, too long, no default. The statement would fail again.
const PERMANENT_ERRORS: [u16; 10] = [1054, 1064, 1136, 1146, 1048, DUPLICATE, 1264, 1366, 1406, 1364];

/// Error numbers of a read-only server, for example of a primary that has become a replica.
const READ_ONLY_ERRORS: [u16; 2] = [1290, 1836];

/// Error numbers of a full disk, table or temporary file.
const FULL_ERRORS: [u16; 4] = [1021, 1026, 1114, 3675];

/// Returns whether the unit of work conflicted with another transaction, and may succeed if it runs
/// again.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Server(server) if CONFLICT_ERRORS.contains(&server.code))
}

pub(crate) fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::Server(server) if server.code == DUPLICATE)
}

/// Returns whether the error means that an event with the same sender and client message id is
/// stored, or is inserted twice by the statement. Only the text of the error, in the language of
/// the server, names the violated index. The text also contains the duplicate values. Those of the
/// primary key, the only other unique key of the table, are numbers, so they cannot contain the
/// name of the index.
pub(crate) fn is_already_sent(error: &Error) -> bool {
    is_duplicate(error) && matches!(error, Error::Server(server) if server.message.contains("event_sent'"))
}

/// Returns whether the server accepts no writes. Another connection may reach a server that accepts
/// them.
pub(crate) fn is_read_only(error: &Error) -> bool {
    matches!(error, Error::Server(server) if READ_ONLY_ERRORS.contains(&server.code))
}

/// Maps an error of the driver to what the caller can do about it. An unknown error counts as
/// temporary, because servers have many errors for temporary conditions.
pub(crate) fn store_error(error: Error) -> StoreError {
    match &error {
        Error::Server(server) if FULL_ERRORS.contains(&server.code) => StoreError::Full(error.into()),
        Error::Server(server) if PERMANENT_ERRORS.contains(&server.code) => StoreError::Defect(format!(
            "the database rejected a statement with error {} ({})",
            server.code, server.state
        )),
        Error::Url(_) => StoreError::Defect(error.to_string()),
        _ => StoreError::unavailable(cause(error)),
    }
}

/// Unwraps an error of the operating system from that of the driver, whose text only repeats it.
/// Returns any other error unchanged.
fn cause(error: Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        Error::Io(IoError::Io(source)) => source.into(),
        other => other.into(),
    }
}

/// Returns the error of a request to a closed store.
pub(crate) fn closed() -> StoreError {
    StoreError::unavailable("the store was closed")
}

/// Returns the error of a request that reached its deadline.
pub(crate) fn timed_out() -> StoreError {
    StoreError::unavailable("the database did not answer in time")
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn mapped(code: u16) -> StoreError {
        store_error(Error::Server(ServerError {
            code,
            message: String::new(),
            state: "HY000".to_owned(),
        }))
    }

    #[test]
    fn repeated_client_message_id_is_distinguished_from_other_duplicates() {
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
            assert!(is_already_sent(&duplicate(text)), "{text}");
        }
        for text in [
            "Duplicate entry '7-1' for key 'PRIMARY'",
            "Duplicate entry '7-1' for key 'event.PRIMARY'",
        ] {
            assert!(!is_already_sent(&duplicate(text)), "{text}");
        }
    }

    #[test]
    fn server_errors_map_to_unavailable_defect_or_full() {
        // Too many connections, changed access rights, a shutdown, a former primary, a conflict, no
        // memory left, an error of the storage engine, limits and timeouts, in MySQL or MariaDB.
        for code in [
            1040, 1045, 1047, 1053, 1130, 1135, 1037, 1041, 1030, 1205, 1213, 1226, 1290, 1461, 1836, 1969, 3024, 4031,
        ] {
            assert!(matches!(mapped(code), StoreError::Unavailable(_)), "{code}");
        }
        for code in PERMANENT_ERRORS {
            assert!(matches!(mapped(code), StoreError::Defect(_)), "{code}");
        }
        for code in FULL_ERRORS {
            assert!(matches!(mapped(code), StoreError::Full(_)), "{code}");
        }
    }
}
