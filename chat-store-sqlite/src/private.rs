//! File permissions: only the owner may read the files, which hold the messages of all users.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// Suffixes of the files beside a database. SQLite creates its files with the mode of the database.
const SUFFIXES: [&str; 4] = ["-wal", "-shm", "-journal", "-opening"];

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

/// Syncs the directory of a file, so that a power cut does not undo the creation or the renaming of
/// the file.
pub(crate) fn sync_directory_of(file: &Path) -> io::Result<()> {
    File::open(directory_of(file))?.sync_all()
}

/// Returns the directory of a file.
pub(crate) fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Gives a file to the owner of its directory, so that a server that runs as this owner can use a
/// file that root has created.
#[cfg(unix)]
pub(crate) fn give_to_owner_of_directory(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let directory = std::fs::metadata(directory_of(file))?;
    if std::fs::metadata(file)?.uid() == directory.uid() {
        return Ok(());
    }
    std::os::unix::fs::chown(file, Some(directory.uid()), Some(directory.gid()))
}

#[cfg(not(unix))]
pub(crate) fn give_to_owner_of_directory(_file: &Path) -> io::Result<()> {
    Ok(())
}

/// Removes the access of other users to a database and to the files beside it.
pub(crate) fn tighten_all(database: &Path) {
    tighten(database);
    for suffix in SUFFIXES {
        tighten(&beside(database, suffix));
    }
}

/// Returns the path of the file beside `database` whose name has this suffix.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
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
