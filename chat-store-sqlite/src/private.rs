//! File permissions: only the owner may read the files, which hold the messages of all users.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Suffixes of the files that SQLite keeps beside a database. SQLite creates them with the mode of
/// the database.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Creates `directory` and its missing parents with access for their owner only. Does not change
/// existing directories.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Returns options that open a file for writing. A file that is created with them is accessible to
/// its owner only.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates the empty file `path`; fails if it exists.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    options().create_new(true).open(path)
}

/// Creates `database` if it is missing, because SQLite would create it with access for every user.
/// Does not open an existing file, because closing a file releases all locks that this process has
/// on it.
pub(crate) fn create_if_missing(database: &Path) -> io::Result<()> {
    match create_new(database) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Removes the access of other users to a database and to the files beside it.
pub(crate) fn tighten_all(database: &Path) {
    tighten(database);
    for suffix in SUFFIXES {
        tighten(&beside(database, suffix));
    }
}

/// Returns the path of the file that SQLite keeps beside `database` with this suffix.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}

/// Removes the access of other users to a file. Logs a warning if they had access, because they may
/// have read the file. Ignores a missing file.
#[cfg(unix)]
pub(crate) fn tighten(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mut permissions = metadata.permissions();
    let bits = permissions.mode() & 0o777;
    if bits & 0o077 == 0 {
        return;
    }
    let mode = format!("{bits:03o}");
    permissions.set_mode(bits & 0o700);
    match std::fs::set_permissions(path, permissions) {
        Ok(()) => {
            tracing::warn!(file = %path.display(), mode, "other users had access to a file of the store; the store removed that access");
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            let text = "other users have access to a file of the store, and the store cannot remove that access";
            tracing::warn!(file = %path.display(), mode, error, "{text}; run the server as the owner of the file");
        }
    }
}

#[cfg(not(unix))]
pub(crate) fn tighten(_path: &Path) {}
