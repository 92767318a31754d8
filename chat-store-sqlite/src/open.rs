//! Options of the store, and the opening of a data directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::model::{ClusterKey, StoreEpoch};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::lock::DirectoryLock;
use crate::{OpenError, feeds, migrate, pairing, private};

/// Name of the database file in its data directory.
pub const DATABASE_FILE: &str = "chat.db";

/// Maximum time that a connection waits for a lock of another connection.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of prepared statements that each connection keeps. This crate has fewer, so none
/// is prepared twice.
const MAX_STATEMENTS: usize = 128;

/// Options of a [`crate::SqliteStore`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Number of reader threads, each with its own connection. 0 counts as 1. Default 2.
    pub reader_threads: usize,
    /// Maximum number of writes (units of work, and moves of cursors and read marks) that wait for
    /// the writer. 0 counts as 1. Further ones fail with
    /// [`StoreError::Overloaded`](chat_core::store::StoreError::Overloaded). Default 4096.
    pub max_waiting_writes: usize,
    /// Maximum number of reads that wait for a reader. 0 counts as 1. Further ones fail with
    /// [`StoreError::Overloaded`](chat_core::store::StoreError::Overloaded). Default 4096.
    pub max_waiting_reads: usize,
    /// Maximum number of writes in one commit. 0 counts as 1. Default 256.
    pub max_writes_per_commit: usize,
    /// Maximum size of the writer's page cache, in KiB. Default 65 536 (64 MiB).
    pub writer_cache_kib: u32,
    /// Maximum size of the page cache of each reader, in KiB. Default 16 384 (16 MiB).
    pub reader_cache_kib: u32,
    /// Maximum size of the database file, in pages of 4 KiB. Writes that need more fail with
    /// [`StoreError::Full`](chat_core::store::StoreError::Full). Default: the limit of SQLite
    /// (16 TiB).
    pub max_pages: Option<u32>,
    /// If true, opening creates a missing database, and brings the schema up to date. If false,
    /// opening a missing or an old database fails. Default true.
    pub migrate: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reader_threads: 2,
            max_waiting_writes: 4096,
            max_waiting_reads: 4096,
            max_writes_per_commit: 256,
            writer_cache_kib: 65_536,
            reader_cache_kib: 16_384,
            max_pages: None,
            migrate: true,
        }
    }
}

/// Open data directory, before the threads of its store start.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) lock: DirectoryLock,
    pub(crate) epoch: StoreEpoch,
    pub(crate) cluster_key: ClusterKey,
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
}

/// Opens `directory`, and creates missing files unless the options exclude that. If the database is
/// another one than that which was opened here last, it gets a new epoch. Blocks.
pub(crate) fn open(directory: &Path, options: &Options) -> Result<Opened, OpenError> {
    open_if(directory, options, |_| Ok(()))
}

/// Opens `directory`, and brings its store up to date. Fails if it holds no store of this program,
/// and creates none. Blocks.
pub(crate) fn open_existing(directory: &Path) -> Result<Opened, OpenError> {
    require_file(&directory.join(DATABASE_FILE))?;
    open_if(directory, &Options::default(), require_store)
}

/// Opens `directory` if its database passes `check`. `check` may open connections, because when it
/// is called, no other store is open, and no log of another database is beside the database.
fn open_if(
    directory: &Path,
    options: &Options,
    check: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<Opened, OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        directory: directory.to_owned(),
        source,
    };
    let path = directory.join(DATABASE_FILE);
    if options.migrate {
        create_and_sync_directory(directory).map_err(not_writable)?;
    } else {
        require_file(&path)?;
    }
    let lock = DirectoryLock::acquire(directory)?;
    let sqlite = |error| OpenError::sqlite(&path, error);
    let not_usable = |source| OpenError::not_writable(&path, source);
    let is_replaced = pairing::set_foreign_log_aside(&path).map_err(not_usable)?;
    check(&path)?;
    let writer = if options.migrate {
        private::create_if_missing(&path).map_err(not_usable)?;
        let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_CREATE).map_err(sqlite)?;
        // Checked before the writer is set up, which changes the file.
        migrate::check_application_id(&writer, &path)?;
        set_up_writer(&writer, options).map_err(sqlite)?;
        migrate::migrate(&mut writer, &path)?;
        writer
    } else {
        let writer = connect(&path, OpenFlags::empty()).map_err(sqlite)?;
        migrate::require_current(&writer, &path)?;
        set_up_writer(&writer, options).map_err(sqlite)?;
        writer
    };
    // Both branches have checked that the file belongs to this program.
    private::tighten_all(&path);
    if let Some(pages) = options.max_pages {
        writer
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(sqlite)?;
    }
    let epoch = if is_replaced {
        tracing::warn!(
            database = %path.display(),
            "the database is not the one that was opened here last, so the store gets a new epoch"
        );
        renew_epoch(&writer)
    } else {
        epoch(&writer)
    };
    let epoch = epoch.map_err(sqlite)?;
    let cluster_key = cluster_key(&writer).map_err(sqlite)?;
    pairing::record_opening(&writer, &path)?;
    feeds::expire_leases(&writer).map_err(sqlite)?;
    let mut readers = Vec::new();
    for _ in 0..options.reader_threads.max(1) {
        let reader = connect(&path, OpenFlags::empty()).map_err(sqlite)?;
        set_up_reader(&reader, options).map_err(sqlite)?;
        readers.push(reader);
    }
    Ok(Opened {
        path,
        lock,
        epoch,
        cluster_key,
        writer,
        readers,
    })
}

/// Fails unless `path` is a file: with [`OpenError::Missing`], or with another error if the file
/// may exist but cannot be reached. Creates nothing.
pub(crate) fn require_file(path: &Path) -> Result<(), OpenError> {
    let missing = || OpenError::Missing { path: path.to_owned() };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(missing()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(missing()),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => Err(OpenError::PermissionDenied {
            path: path.to_owned(),
            source,
        }),
        Err(error) => Err(OpenError::Other {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Fails unless `path` holds a store of this program, of any schema that it knows. Creates nothing.
fn require_store(path: &Path) -> Result<(), OpenError> {
    require_file(path)?;
    let conn = connect(path, OpenFlags::empty()).map_err(|error| OpenError::sqlite(path, error))?;
    migrate::require_store(&conn, path)
}

/// Creates a missing directory with access for its owner only, and syncs its parents, so that a
/// power cut cannot remove the directory with everything that was synced inside.
pub(crate) fn create_and_sync_directory(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    let missing = directory.ancestors().take_while(|path| !path.is_dir()).count();
    private::make_directory(&directory)?;
    let mut parents = directory.ancestors().skip(1).take(missing);
    parents.try_for_each(|parent| File::open(parent)?.sync_all())
}

/// Opens a connection for use by one thread, with the flags `extra` in addition to those that every
/// connection has.
pub(crate) fn connect(path: &Path, extra: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(MAX_STATEMENTS);
    conn.pragma_update(None, "trusted_schema", false)?;
    // Without this setting, SQLite may recompile a statement for each value bound to it, which took
    // half the time of an append.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

fn set_up_writer(conn: &Connection, options: &Options) -> rusqlite::Result<()> {
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let text = format!(
            "the file system does not support a write-ahead log (journal mode {mode}); use a local file system"
        );
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    // With FULL, COMMIT returns once the write-ahead log is on the disk.
    conn.pragma_update(None, "synchronous", "full")?;
    // SQLite overwrites erased content with zeros.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "cache_size", -i64::from(options.writer_cache_kib))?;
    // In pages of 4 KiB: from this size on, a commit moves the write-ahead log into the database.
    conn.pragma_update(None, "wal_autocheckpoint", 4000)?;
    // In bytes: a longer write-ahead log is truncated when SQLite starts it anew.
    conn.pragma_update(None, "journal_size_limit", 64 << 20)
}

fn set_up_reader(conn: &Connection, options: &Options) -> rusqlite::Result<()> {
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -i64::from(options.reader_cache_kib))
}

/// Returns the store epoch. If the database has none, creates one with [`renew_epoch`].
fn epoch(conn: &Connection) -> rusqlite::Result<StoreEpoch> {
    let stored: Option<[u8; 16]> = conn
        .query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))
        .optional()?;
    match stored {
        Some(epoch) => Ok(StoreEpoch(epoch)),
        None => renew_epoch(conn),
    }
}

/// Returns the key of the cluster. Creates a key if the database has none.
fn cluster_key(conn: &Connection) -> rusqlite::Result<ClusterKey> {
    conn.execute(
        "INSERT OR IGNORE INTO meta (name, value) VALUES ('cluster_key', ?1)",
        [ClusterKey::random().expose()],
    )?;
    conn.query_row("SELECT value FROM meta WHERE name = 'cluster_key'", [], |row| {
        row.get(0)
    })
    .map(ClusterKey::from_bytes)
}

/// Gives the store a new store epoch, so that clients discard what they have saved of its data, and
/// returns it. Also replaces the key of the cluster, so that neither the original store nor a copy
/// of it accepts data that was authenticated for the other.
pub(crate) fn renew_epoch(conn: &Connection) -> rusqlite::Result<StoreEpoch> {
    conn.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('cluster_key', ?1)",
        [ClusterKey::random().expose()],
    )?;
    let epoch = StoreEpoch::random();
    conn.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('epoch', ?1)",
        [epoch.0],
    )?;
    Ok(epoch)
}
