//! Migrations of a database to the schema of this program.

use chat_core::model::{ClusterKey, StoreEpoch};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sha2::{Digest, Sha256};

use crate::OpenError;

/// Migrations in order, numbered from 1. A released migration never changes.
const MIGRATIONS: [(&str, &str); 7] = [
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
    ("005_user_change", include_str!("../migrations/005_user_change.sql")),
    (
        "006_request_notice",
        include_str!("../migrations/006_request_notice.sql"),
    ),
    ("007_contact_state", include_str!("../migrations/007_contact_state.sql")),
];

/// Newest schema that this program knows.
const KNOWN: u32 = MIGRATIONS.len() as u32;

/// Error number of a statement that adds a key whose name the table has already.
const DUPLICATE_KEY_NAME: u16 = 1061;

/// Maximum time in seconds for which a change of a table waits for transactions that use the table.
const MAX_TABLE_WAIT_S: u32 = 3;
/// Error number of a lock that was not granted in time.
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// Name of the migration lock, in SQL. The names of locks are global to the server, so this one
/// includes the name of the database.
const LOCK: &str = "CONCAT('chat.migrate.', DATABASE())";

/// Maximum time of one statement that waits for the migration lock, in seconds. It is short, so
/// that [`prepare`] notices soon that the connection is lost.
const LOCK_TIMEOUT_S: u32 = 2;

/// Store epoch and cluster key of a database whose schema is up to date.
#[derive(Debug)]
pub(crate) struct PreparedDatabase {
    pub(crate) epoch: StoreEpoch,
    pub(crate) cluster_key: ClusterKey,
}

/// Applies the missing migrations, or fails if there are any and `migrate` is not set. One process
/// migrates at a time; others that want to migrate wait until it has finished or its connection has
/// ended. If no migration is missing, the schema is only read, so that the user of the database
/// needs no right to create tables. Creates the epoch and the key of the cluster if they are
/// missing.
pub(crate) async fn prepare(conn: &mut Conn, migrate: bool) -> Result<PreparedDatabase, OpenError> {
    let found = found_schema(conn).await?;
    if !migrate || found == KNOWN {
        return require_current(conn).await;
    }
    // After an error, the lock ends with the connection.
    lock(conn).await?;
    apply_missing(conn)
        .await
        .map_err(|error| error.explain_privileges(found, KNOWN))?;
    let epoch = epoch(conn).await?;
    let cluster_key = cluster_key(conn).await?;
    conn.query_drop(format!("DO RELEASE_LOCK({LOCK})"))
        .await
        .map_err(OpenError::from_driver)?;
    Ok(PreparedDatabase { epoch, cluster_key })
}

/// Applies the migrations that the database lacks. The caller has the migration lock.
async fn apply_missing(conn: &mut Conn) -> Result<(), OpenError> {
    conn.query_drop(
        "CREATE TABLE IF NOT EXISTS migration (
             version  INT UNSIGNED NOT NULL PRIMARY KEY,
             name     VARBINARY(64) NOT NULL,
             checksum BINARY(32)    NOT NULL
         ) ENGINE = InnoDB",
    )
    .await
    .map_err(OpenError::from_driver)?;
    let found = last_applied(conn).await?;
    for (version, (name, sql)) in (1..).zip(MIGRATIONS) {
        if version > found {
            apply(conn, version, name, sql).await?;
        } else {
            check(conn, version, sql).await?;
        }
    }
    Ok(())
}

/// Takes the migration lock. Waits while another connection has it: a migration of a large database
/// takes minutes, and the server releases the lock when the connection of its holder ends.
async fn lock(conn: &mut Conn) -> Result<(), OpenError> {
    let mut timeout = 0;
    loop {
        let got: Option<Option<i64>> = conn
            .query_first(format!("SELECT GET_LOCK({LOCK}, {timeout})"))
            .await
            .map_err(OpenError::from_driver)?;
        match got.flatten() {
            Some(1) => return Ok(()),
            Some(_) if timeout > 0 => {}
            Some(_) => {
                let holder = conn.query_first(format!("SELECT IS_USED_LOCK({LOCK})"));
                let holder: Option<Option<u64>> = holder.await.map_err(OpenError::from_driver)?;
                tracing::info!(
                    connection = holder.flatten(),
                    "another process is migrating the database; waiting until it has finished"
                );
                timeout = LOCK_TIMEOUT_S;
            }
            None => {
                return Err(OpenError::Other(
                    "the database server refused the migration lock".into(),
                ));
            }
        }
    }
}

/// Fails unless the database has the schema of this program. Does not change the schema, but
/// creates the epoch and the key of the cluster if they are missing.
async fn require_current(conn: &mut Conn) -> Result<PreparedDatabase, OpenError> {
    let found = found_schema(conn).await?;
    if found < KNOWN {
        return Err(OpenError::OlderSchema { found, known: KNOWN });
    }
    for (version, (_, sql)) in (1..).zip(MIGRATIONS) {
        check(conn, version, sql).await?;
    }
    let epoch = epoch(conn).await?;
    let cluster_key = cluster_key(conn).await?;
    Ok(PreparedDatabase { epoch, cluster_key })
}

/// Fails with [`OpenError::OlderSchema`] if the database holds no store, and with
/// [`OpenError::NewerSchema`] if a later release wrote it. Changes nothing.
pub(crate) async fn require_store(conn: &mut Conn) -> Result<(), OpenError> {
    match found_schema(conn).await? {
        0 => Err(OpenError::OlderSchema { found: 0, known: KNOWN }),
        _ => Ok(()),
    }
}

/// Returns the number of the schema in the database; 0 if the database holds no store. Fails with
/// [`OpenError::NewerSchema`] if this program does not know that schema.
async fn found_schema(conn: &mut Conn) -> Result<u32, OpenError> {
    let tables = "SELECT COUNT(*) FROM information_schema.tables
                  WHERE table_schema = DATABASE() AND table_name = 'migration'";
    let tables: Option<u64> = conn.query_first(tables).await.map_err(OpenError::from_driver)?;
    match tables {
        None | Some(0) => Ok(0),
        Some(_) => last_applied(conn).await,
    }
}

/// Returns the number of the last migration that was applied to the database, or 0. Fails with
/// [`OpenError::NewerSchema`] if this program does not know that migration.
async fn last_applied(conn: &mut Conn) -> Result<u32, OpenError> {
    let newest = conn.query_first("SELECT IFNULL(MAX(version), 0) FROM migration");
    let found: u32 = newest.await.map_err(OpenError::from_driver)?.unwrap_or_default();
    if found > KNOWN {
        return Err(OpenError::NewerSchema { found, known: KNOWN });
    }
    Ok(found)
}

fn checksum(sql: &str) -> [u8; 32] {
    Sha256::digest(sql.as_bytes()).into()
}

/// Fails unless the database recorded that migration `version` was applied with the text `sql`.
async fn check(conn: &mut Conn, version: u32, sql: &str) -> Result<(), OpenError> {
    let stored = conn.exec_first("SELECT checksum FROM migration WHERE version = ?", (version,));
    let stored: Option<Vec<u8>> = stored.await.map_err(OpenError::from_driver)?;
    if stored.as_deref() == Some(&checksum(sql)[..]) {
        Ok(())
    } else {
        Err(OpenError::ChangedMigration { version })
    }
}

/// Applies one migration. The database does not roll back schema changes, so the statements of a
/// migration must be able to run again after a crash. A key that exists already was added before
/// the crash.
async fn apply(conn: &mut Conn, version: u32, name: &str, sql: &str) -> Result<(), OpenError> {
    tracing::info!(migration = name, "applying a migration");
    // A change of a table waits for transactions that have read the table, such as a dump, and all
    // later statements on the table wait for the change. So the change waits for a short time only.
    let limit = format!("SET SESSION lock_wait_timeout = {MAX_TABLE_WAIT_S}");
    conn.query_drop(limit).await.map_err(OpenError::from_driver)?;
    for statement in statements(sql) {
        match conn.query_drop(statement).await {
            Err(mysql_async::Error::Server(error)) if error.code == DUPLICATE_KEY_NAME => {}
            Err(mysql_async::Error::Server(error)) if error.code == LOCK_WAIT_TIMEOUT => {
                let text = format!(
                    "migration {name} needs a table that another transaction, such as a dump, is using; run \
                     `chat-server migrate` again when that has ended"
                );
                return Err(OpenError::Other(text.into()));
            }
            result => result.map_err(OpenError::from_driver)?,
        }
    }
    let record = "INSERT INTO migration (version, name, checksum) VALUES (?, ?, ?)";
    conn.exec_drop(record, (version, name, &checksum(sql)[..]))
        .await
        .map_err(OpenError::from_driver)?;
    tracing::info!(migration = name, "applied a migration");
    Ok(())
}

/// Splits a file into statements without comments. The migrations contain no semicolons or dashes
/// within strings.
fn statements(sql: &str) -> Vec<String> {
    let code = |line: &str| line.split("--").next().unwrap_or_default().to_owned();
    let text = sql.lines().map(code).collect::<Vec<_>>().join("\n");
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}

/// Returns the store epoch. Creates an epoch if the database has none.
async fn epoch(conn: &mut Conn) -> Result<StoreEpoch, OpenError> {
    created_once(conn, "epoch", &StoreEpoch::random().0)
        .await
        .map(StoreEpoch)
}

/// Returns the key of the cluster. Creates a key if the database has none.
async fn cluster_key(conn: &mut Conn) -> Result<ClusterKey, OpenError> {
    let key = created_once(conn, "cluster_key", ClusterKey::random().expose()).await;
    key.map(ClusterKey::from_bytes)
}

/// Returns the value `name` of the table `meta`. Stores `fresh` as the value if there is none;
/// otherwise only reads.
async fn created_once<const N: usize>(conn: &mut Conn, name: &str, fresh: &[u8; N]) -> Result<[u8; N], OpenError> {
    let mut stored = stored_value(conn, name).await.map_err(OpenError::from_driver)?;
    if stored.is_none() {
        // Another node may store its value at the same time.
        conn.exec_drop(
            "INSERT IGNORE INTO meta (name, value) VALUES (?, ?)",
            (name, &fresh[..]),
        )
        .await
        .map_err(OpenError::from_driver)?;
        stored = stored_value(conn, name).await.map_err(OpenError::from_driver)?;
    }
    stored.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        OpenError::Other(
            format!("the value `{name}` in the table `meta` is missing or does not have {N} bytes; restore a backup")
                .into(),
        )
    })
}

/// Returns the value `name` of the table `meta`, if it has one.
pub(crate) async fn stored_value(conn: &mut Conn, name: &str) -> mysql_async::Result<Option<Vec<u8>>> {
    conn.exec_first("SELECT value FROM meta WHERE name = ?", (name,)).await
}

/// Replaces the store epoch with a new one, and returns it. Also replaces the key of the cluster,
/// so that the nodes of the original store and those of a copy ignore each other's data on the bus.
pub(crate) async fn renew_epoch(conn: &mut Conn) -> Result<StoreEpoch, OpenError> {
    conn.exec_drop(
        "REPLACE INTO meta (name, value) VALUES ('cluster_key', ?)",
        (&ClusterKey::random().expose()[..],),
    )
    .await
    .map_err(OpenError::from_driver)?;
    let fresh = StoreEpoch::random();
    conn.exec_drop("REPLACE INTO meta (name, value) VALUES ('epoch', ?)", (&fresh.0[..],))
        .await
        .map_err(OpenError::from_driver)?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_split_and_can_run_again() {
        let found = statements("-- a; b\nCREATE x ( -- c;\n  y\n);\n\nDROP z;\n");
        assert_eq!(found, ["CREATE x ( \n  y\n)", "DROP z"]);
        let repeatable = [
            "CREATE TABLE IF NOT EXISTS",
            "INSERT IGNORE",
            "ALTER TABLE contact ADD KEY",
        ];
        assert!(MIGRATIONS.iter().all(|(_, sql)| {
            statements(sql)
                .iter()
                .all(|text| repeatable.iter().any(|start| text.starts_with(start)))
        }));
    }

    #[test]
    fn backfill_of_recalled_messages_uses_the_number_of_their_kind() {
        let sql = include_str!("../migrations/003_recalled_message.sql");
        let message = chat_core::model::EventKind::Message as u8;
        assert!(sql.ends_with(&format!("recalled_seq IS NOT NULL AND kind = {message};\n")));
    }
}
