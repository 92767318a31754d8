//! Options and connections.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_core::model::StoreEpoch;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::lock::DirectoryLock;
use crate::{OpenError, migrate, private};

/// The database's name in its data directory.
pub const DATABASE_FILE: &str = "chat.db";

pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENTS: usize = 128;

/// What a [`crate::SqliteStore`] may use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Threads that read, each with a connection of its own. Default 2.
    pub reader_threads: usize,
    /// Units of work that may wait for the writer; more are refused as overloaded. Default 4096.
    pub max_waiting_units: usize,
    /// Reads that may wait for a reader; more are refused as overloaded. Default 4096.
    pub max_waiting_reads: usize,
    /// Units of work that one commit takes together. Default 256.
    pub max_units_per_commit: usize,
    /// Page cache of the writer, in KiB. Default 65,536 (64 MiB, used as the database grows).
    pub writer_cache_kib: u32,
    /// Page cache of each reader, in KiB. Default 16,384.
    pub reader_cache_kib: u32,
    /// Size that the database file may not exceed, in pages of 4 KiB; what would make it larger is refused as full.
    /// Default: as SQLite (16 TiB).
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reader_threads: 2,
            max_waiting_units: 4096,
            max_waiting_reads: 4096,
            max_units_per_commit: 256,
            writer_cache_kib: 65_536,
            reader_cache_kib: 16_384,
            max_pages: None,
        }
    }
}

/// An open data directory, before its threads run.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) lock: DirectoryLock,
    pub(crate) epoch: StoreEpoch,
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
}

/// Opens `directory`, making what is missing. Blocks.
pub(crate) fn open(directory: &Path, options: &Options) -> Result<Opened, OpenError> {
    let not_writable = |source| OpenError::NotWritable {
        directory: directory.to_owned(),
        source,
    };
    make_directory(directory).map_err(not_writable)?;
    let lock = DirectoryLock::take(directory)?;
    let path = directory.join(DATABASE_FILE);
    private::make(&path).map_err(not_writable)?;
    let sqlite = |error| OpenError::sqlite(&path, error);
    let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_CREATE).map_err(sqlite)?;
    set_up_writer(&writer, options).map_err(sqlite)?;
    migrate::migrate(&mut writer, &path)?;
    // Not before it is known to be ours.
    private::tighten_all(&path);
    if let Some(pages) = options.max_pages {
        writer
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(sqlite)?;
    }
    let epoch = epoch(&writer).map_err(sqlite)?;
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
        writer,
        readers,
    })
}

/// Makes the directory, for its owner alone, if it is missing, and sees to it that it stays: a power cut must not take the directory with
/// everything that was synced inside it.
fn make_directory(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    let missing = directory.ancestors().take_while(|path| !path.is_dir()).count();
    private::make_directory(&directory)?;
    let mut parents = directory.ancestors().skip(1).take(missing);
    parents.try_for_each(|parent| File::open(parent)?.sync_all())
}

/// A connection that belongs to one thread.
pub(crate) fn connect(path: &Path, more: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "trusted_schema", false)?;
    // Otherwise a statement may be compiled again for each value bound to it: half of an append's cost.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

fn set_up_writer(conn: &Connection, options: &Options) -> rusqlite::Result<()> {
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let why = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
        let text = format!("the file system does not carry a write-ahead log (journal mode {mode})");
        return Err(rusqlite::Error::SqliteFailure(why, Some(text)));
    }
    // FULL: COMMIT returns when the log is on the disk.
    conn.pragma_update(None, "synchronous", "full")?;
    // What was erased is overwritten, not only forgotten.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "cache_size", -i64::from(options.writer_cache_kib))?;
    conn.pragma_update(None, "wal_autocheckpoint", 4000)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)
}

fn set_up_reader(conn: &Connection, options: &Options) -> rusqlite::Result<()> {
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "cache_size", -i64::from(options.reader_cache_kib))
}

/// The history's name; given when the database is made.
fn epoch(conn: &Connection) -> rusqlite::Result<StoreEpoch> {
    let stored: Option<[u8; 16]> = conn
        .query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))
        .optional()?;
    match stored {
        Some(epoch) => Ok(StoreEpoch(epoch)),
        None => renew_epoch(conn),
    }
}

/// Gives the history a new name.
pub(crate) fn renew_epoch(conn: &Connection) -> rusqlite::Result<StoreEpoch> {
    let epoch = StoreEpoch::random();
    conn.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('epoch', ?1)",
        [epoch.0],
    )?;
    Ok(epoch)
}
