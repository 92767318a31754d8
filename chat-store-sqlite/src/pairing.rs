//! Detects a write-ahead log that does not belong to the database beside it.
//!
//! SQLite replays any valid log that lies beside a database. If a copy of the database was put in
//! the place of the database of a killed server, the log of that server undoes the restoration, or
//! mixes its pages with those of the copy.
//!
//! Each opening of a database therefore marks it with a random number, its *generation*, in the
//! header of the file (`PRAGMA user_version`), and notes the number and the salt of its log in a
//! file beside it. The salt is a number in the header of the log: random in a new log, and greater
//! by one each time SQLite starts the log anew. A log of the noted opening beside a database
//! without its generation belongs to another database.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use chat_core::model::StoreEpoch;
use rusqlite::Connection;

use crate::{OpenError, private};

/// Suffix of the name of the file with the [`Opening`].
const OPENING: &str = "-opening";
/// Suffix of the name of that file until it is complete.
const NEW_OPENING: &str = "-opening.new";
/// Suffix of the name of the write-ahead log.
const LOG: &str = "-wal";
/// Suffix of the name of the index of the write-ahead log. SQLite rebuilds a missing index.
const LOG_INDEX: &str = "-shm";
/// Position of the generation in a database file, in bytes.
const GENERATION_OFFSET: u64 = 60;
/// Position of the salt in a log, in bytes.
const SALT_OFFSET: u64 = 16;
/// Number of times that one opening may start its log anew and still be recognised as its owner.
/// Commits that erase text may each start it anew. The random salt of another log is in this range
/// in one of 256 cases.
const MAX_LOG_RESTARTS: u32 = 1 << 24;

/// Note about the last opening of a database, or about the state of the database before another one
/// took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    /// Number in the header of the database since that opening.
    generation: u32,
    /// Salt of the log when the note was written; for an empty log, the salt with which SQLite will
    /// start it. `None` after another database was found in the place of the opened one: the log of
    /// the opening, if there still was one, was renamed.
    salt: Option<u32>,
}

/// Text of a missing salt in the file with the [`Opening`].
const NO_SALT: &str = "-";

impl Opening {
    /// Returns the last opening of `database`, or `None` if it is unknown.
    fn read(database: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        let Some(file) = existing(File::open(private::beside(database, OPENING)))? else {
            return Ok(None);
        };
        match file.take(64).read_to_string(&mut text) {
            Ok(_) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (generation, salt) = text.strip_suffix('\n')?.split_once(' ')?;
        let number = |digits| u32::from_str_radix(digits, 16).ok();
        let generation = number(generation)?;
        let salt = match salt {
            NO_SALT => None,
            salt => Some(number(salt)?),
        };
        Some(Self { generation, salt })
    }

    /// Writes the opening, and syncs it.
    fn write(self, database: &Path) -> io::Result<()> {
        self.prepare(database)?;
        put_note_in_place(database)
    }

    /// Writes the opening to a new file, and syncs the file. [`put_note_in_place`] then needs no
    /// space on the disk. The file replaces the former one, because root may own that.
    fn prepare(self, database: &Path) -> io::Result<()> {
        let path = private::beside(database, NEW_OPENING);
        existing(std::fs::remove_file(&path))?;
        let mut file = private::create_new(&path)?;
        let salt = self.salt.map_or(NO_SALT.to_owned(), |salt| format!("{salt:08x}"));
        file.write_all(format!("{:08x} {salt}\n", self.generation).as_bytes())?;
        file.sync_all()?;
        // If root runs this program, the server that runs as another user has to read the file.
        // Without root, the owner cannot be changed, and the file stays with its writer.
        let _ = private::give_to_owner_of_directory(&file, &path);
        Ok(())
    }

    /// Returns whether a log with this salt counts as written since the opening.
    const fn has_written(self, salt: u32) -> bool {
        match self.salt {
            Some(first) => salt.wrapping_sub(first) <= MAX_LOG_RESTARTS,
            None => false,
        }
    }

    /// Returns whether `database` is another database than the one that was opened.
    fn is_of_another(self, database: &Path) -> io::Result<bool> {
        Ok(generation_of(database)? != self.generation)
    }
}

/// Gives the file of [`Opening::prepare`] its name.
fn put_note_in_place(database: &Path) -> io::Result<()> {
    std::fs::rename(
        private::beside(database, NEW_OPENING),
        private::beside(database, OPENING),
    )?;
    private::sync_directory_of(database)
}

/// Returns the generation in the header of `database`; 0 if it has none, or if the file is missing.
fn generation_of(database: &Path) -> io::Result<u32> {
    Ok(number_at(database, GENERATION_OFFSET)?.unwrap_or(0))
}

/// Returns the salt of the log beside `database`, or `None` if there is no log with content.
fn salt_of_log(database: &Path) -> io::Result<Option<u32>> {
    number_at(&private::beside(database, LOG), SALT_OFFSET)
}

/// Returns whether the log beside `database` belongs to another database. The caller holds the lock
/// of the directory, so that no connection of this process is open: this function opens and closes
/// the database file, which would release the locks of such a connection.
pub(crate) fn has_foreign_log(database: &Path) -> io::Result<bool> {
    let Some(salt) = salt_of_log(database)? else {
        return Ok(false);
    };
    let Some(opening) = Opening::read(database)? else {
        return Ok(false);
    };
    Ok(opening.has_written(salt) && opening.is_of_another(database)?)
}

/// Returns whether `database` is another database than the one that was opened here last. If the
/// log of that one is beside it, renames the log, so that SQLite does not replay it. The answer
/// stays the same until [`record_opening`], so that an opening that fails before it does not hide
/// the replacement from the next one. The caller holds the lock of the directory.
///
/// If the disk is full, fails before it renames anything.
pub(crate) fn set_foreign_log_aside(database: &Path) -> io::Result<bool> {
    let Some(opening) = Opening::read(database)? else {
        return Ok(false);
    };
    if !opening.is_of_another(database)? {
        return Ok(false);
    }
    if opening.salt.is_some() {
        // Notes that the log of the opening is no longer beside the database. The log of the new
        // database may begin with any salt.
        Opening { salt: None, ..opening }.prepare(database)?;
        if has_foreign_log(database)? {
            rename_foreign_log(database)?;
        }
        put_note_in_place(database)?;
    }
    Ok(true)
}

fn rename_foreign_log(database: &Path) -> io::Result<()> {
    let aside = private::beside(database, &format!("{LOG}.{}.unused", StoreEpoch::random()));
    move_log(database, &aside)?;
    tracing::warn!(
        database = %database.display(), log = %aside.display(),
        "the write-ahead log beside the database belongs to another database: it seems that a copy was put in the place of \
         the database of a server that did not stop cleanly; the store uses the database without that log, which was renamed"
    );
    Ok(())
}

/// Notes that the log beside `database`, if there is one, belongs to this database, before another
/// one takes its place. The caller holds the lock of the directory.
pub(crate) fn note_owner_of_log(database: &Path) -> io::Result<()> {
    let Some(salt) = salt_of_log(database)? else {
        return Ok(());
    };
    let generation = generation_of(database)?;
    let salt = Some(salt);
    Opening { generation, salt }.write(database)
}

/// Renames the log beside `database`, if there is one, so that it lies beside `renamed`.
pub(crate) fn move_log_beside(database: &Path, renamed: &Path) -> io::Result<()> {
    move_log(database, &private::beside(renamed, LOG))
}

/// Renames the log beside `database` to `target`, if there is one, removes its index, and syncs the
/// directory.
fn move_log(database: &Path, target: &Path) -> io::Result<()> {
    existing(std::fs::rename(private::beside(database, LOG), target))?;
    existing(std::fs::remove_file(private::beside(database, LOG_INDEX)))?;
    private::sync_directory_of(database)
}

/// Gives the open database a new generation, empties the log, and notes the generation and the
/// salt. If a process that reads the log, such as a backup, keeps it from being emptied, notes
/// nothing.
pub(crate) fn record_opening(conn: &Connection, database: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::sqlite(database, error);
    let not_writable = |error| OpenError::not_writable(database, error);
    // From the new generation to the new note, the log and the database may each have either
    // generation. If the opening is interrupted there, a note of the former one would make the log
    // look foreign.
    let forgotten = forget_opening(database).and_then(|()| private::sync_directory_of(database));
    forgotten.map_err(not_writable)?;
    let generation = random_generation();
    set_generation(conn, generation).map_err(sqlite)?;
    let salt = salt_of_log(database).map_err(not_writable)?;
    // Moves the generation from the log into the database file, and starts the log anew.
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let is_busy: bool = conn.query_row(checkpoint, [], |row| row.get(0)).map_err(sqlite)?;
    match salt {
        Some(salt) if !is_busy => {
            let salt = Some(salt.wrapping_add(1));
            Opening { generation, salt }.write(database).map_err(not_writable)
        }
        // Another process reads the log, so the database file may still have the former generation.
        _ => Ok(()),
    }
}

/// Gives a copy of a database a generation of its own, so that it differs from every database whose
/// place it may take.
pub(crate) fn renew_generation(conn: &Connection) -> rusqlite::Result<()> {
    set_generation(conn, random_generation())
}

/// Removes the note about the last opening of `database`.
pub(crate) fn forget_opening(database: &Path) -> io::Result<()> {
    existing(std::fs::remove_file(private::beside(database, OPENING))).map(drop)
}

fn set_generation(conn: &Connection, generation: u32) -> rusqlite::Result<()> {
    conn.pragma_update(None, "user_version", generation.cast_signed())
}

fn random_generation() -> u32 {
    let [a, b, c, d, ..] = StoreEpoch::random().0;
    u32::from_be_bytes([a, b, c, d]).max(1)
}

/// Reads a number at a position of a file. Returns `None` if the file is missing or shorter.
fn number_at(path: &Path, offset: u64) -> io::Result<Option<u32>> {
    let Some(mut file) = existing(File::open(path))? else {
        return Ok(None);
    };
    let mut bytes = [0; 4];
    file.seek(SeekFrom::Start(offset))?;
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u32::from_be_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns `None` for a missing file.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_owns_the_logs_that_follow_its_own() {
        let opening = Opening {
            generation: 7,
            salt: Some(u32::MAX),
        };
        assert!(opening.has_written(u32::MAX) && opening.has_written(0) && opening.has_written(MAX_LOG_RESTARTS - 1));
        assert!(!opening.has_written(MAX_LOG_RESTARTS) && !opening.has_written(u32::MAX - 1));
        assert!(opening.has_written(5_000_000), "after many commits that erased text");
        let without_log = Opening { salt: None, ..opening };
        assert!(!without_log.has_written(u32::MAX) && !without_log.has_written(0));
    }

    /// The note of the former opening would let the next opening set the log aside.
    #[test]
    fn opening_that_fails_after_it_began_is_unknown() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("chat.db");
        let conn = Connection::open(&database).unwrap();
        conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
            .unwrap();
        record_opening(&conn, &database).unwrap();
        assert!(Opening::read(&database).unwrap().is_some());
        conn.pragma_update(None, "query_only", true).unwrap();
        record_opening(&conn, &database).unwrap_err();
        assert_eq!(Opening::read(&database).unwrap(), None);
    }

    #[test]
    fn opening_is_unknown_if_its_file_is_missing_or_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("chat.db");
        assert_eq!(Opening::read(&database).unwrap(), None);
        for salt in [Some(3), None] {
            let generation = 0xa0;
            let opening = Opening { generation, salt };
            opening.write(&database).unwrap();
            assert_eq!(Opening::read(&database).unwrap(), Some(opening));
        }
        for damaged in [&b""[..], b"000000a0", b"000000a0 0000", b"\xff\n", b"x y\n"] {
            std::fs::write(private::beside(&database, OPENING), damaged).unwrap();
            assert_eq!(Opening::read(&database).unwrap(), None);
        }
    }
}
