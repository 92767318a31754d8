//! Migrations, which bring the schema of a database to the version of this program.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::OpenError;

/// Migrations in order, numbered from 1. A released migration never changes.
const MIGRATIONS: [(&str, &str); 6] = [
    ("001_init", include_str!("../migrations/001_init.sql")),
    (
        "002_group_snapshot",
        include_str!("../migrations/002_group_snapshot.sql"),
    ),
    (
        "003_recalled_message",
        include_str!("../migrations/003_recalled_message.sql"),
    ),
    ("004_session_token", include_str!("../migrations/004_session_token.sql")),
    (
        "005_request_notice",
        include_str!("../migrations/005_request_notice.sql"),
    ),
    ("006_contact_state", include_str!("../migrations/006_contact_state.sql")),
];

/// SQLite application id of the files of this program ("chat" in ASCII).
const APPLICATION_ID: i32 = 0x6368_6174;

/// Version of the newest schema that this program knows: the number of its last migration.
pub(crate) const NEWEST_SCHEMA: u32 = MIGRATIONS.len() as u32;

/// Applies the missing migrations in one transaction. Fails without a change if the file belongs to
/// another program or a newer release, or if an applied migration differs from that of this
/// program.
pub(crate) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::sqlite(path, error);
    check_application_id(conn, path)?;
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Exclusive)
        .map_err(sqlite)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(sqlite)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
            version  INTEGER PRIMARY KEY,
            name     TEXT NOT NULL,
            checksum BLOB NOT NULL
        ) STRICT",
    )
    .map_err(sqlite)?;
    reject_newer(&tx, path)?;
    for (version, (name, sql)) in (1..).zip(MIGRATIONS) {
        apply(&tx, path, version, name, sql)?;
    }
    tx.commit().map_err(sqlite)
}

/// Rejects files that hold no store of this program, or one of a newer release. Writes nothing.
pub(crate) fn require_store(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::sqlite(path, error);
    check_application_id(conn, path)?;
    let tables = "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'migration'";
    let has_migrations: bool = conn.query_row(tables, [], |row| row.get(0)).map_err(sqlite)?;
    if !has_migrations {
        return Err(OpenError::Empty { path: path.to_owned() });
    }
    reject_newer(conn, path)
}

/// Rejects files whose schema is not exactly the schema of this program. Writes nothing.
pub(crate) fn require_current(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    require_store(conn, path)?;
    for (version, (_, sql)) in (1..).zip(MIGRATIONS) {
        if !is_applied(conn, path, version, sql)? {
            return Err(OpenError::OlderSchema {
                path: path.to_owned(),
                found: version - 1,
                known: NEWEST_SCHEMA,
            });
        }
    }
    Ok(())
}

/// Fails if the file belongs to another program. Changes nothing.
pub(crate) fn check_application_id(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::sqlite(path, error);
    let id: i32 = conn
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(sqlite)?;
    let tables: u32 = conn
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    // A new database is empty, and its application id is 0.
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(OpenError::NotADatabase {
        path: path.to_owned(),
        source: format!("its application id is {id:#x}, not {APPLICATION_ID:#x}").into(),
    })
}

fn reject_newer(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let found: Option<u32> = conn
        .query_row("SELECT MAX(version) FROM migration", [], |row| row.get(0))
        .map_err(|error| OpenError::sqlite(path, error))?;
    match found {
        Some(found) if found > NEWEST_SCHEMA => Err(OpenError::NewerSchema {
            path: path.to_owned(),
            found,
            known: NEWEST_SCHEMA,
        }),
        _ => Ok(()),
    }
}

fn apply(conn: &Connection, path: &Path, version: u32, name: &str, sql: &str) -> Result<(), OpenError> {
    if is_applied(conn, path, version, sql)? {
        return Ok(());
    }
    let sqlite = |error| OpenError::sqlite(path, error);
    tracing::info!(migration = name, "applying a migration");
    conn.execute_batch(sql).map_err(sqlite)?;
    let checksum = Sha256::digest(sql.as_bytes());
    conn.execute(
        "INSERT INTO migration (version, name, checksum) VALUES (?1, ?2, ?3)",
        params![version, name, checksum.as_slice()],
    )
    .map_err(sqlite)?;
    tracing::info!(migration = name, "applied a migration");
    Ok(())
}

/// Returns whether the migration `version` was applied. Fails with [`OpenError::ChangedMigration`]
/// if it was applied with another text than `sql`.
fn is_applied(conn: &Connection, path: &Path, version: u32, sql: &str) -> Result<bool, OpenError> {
    let applied: Option<Vec<u8>> = conn
        .query_row("SELECT checksum FROM migration WHERE version = ?1", [version], |row| {
            row.get(0)
        })
        .optional()
        .map_err(|error| OpenError::sqlite(path, error))?;
    match applied {
        Some(applied) if applied == Sha256::digest(sql.as_bytes()).as_slice() => Ok(true),
        Some(_) => Err(OpenError::ChangedMigration {
            path: path.to_owned(),
            version,
        }),
        None => Ok(false),
    }
}
