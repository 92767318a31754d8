//! Files for their owner alone: they hold everybody's messages.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// What SQLite keeps beside a database; it gives these the database's mode when it makes them.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Makes `directory` and what is missing above it, each for its owner alone. Leaves alone what is there.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Writes, and makes a missing file for its owner alone.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the empty file `path`; fails if it exists.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    options().create_new(true).open(path)
}

/// Makes `database` if it is missing, before SQLite would make it for everybody. Opens no file that exists: closing it would
/// take away the locks that this process has on it.
pub(crate) fn make(database: &Path) -> io::Result<()> {
    match create_new(database) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Takes others' rights to a database and what is beside it away.
pub(crate) fn tighten_all(database: &Path) {
    tighten(database);
    for suffix in BESIDE {
        tighten(&beside(database, suffix));
    }
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}

/// Takes others' rights to a file away, and says so: until now they could read it. A missing file is fine.
#[cfg(unix)]
pub(crate) fn tighten(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mut permissions = metadata.permissions();
    let mode = permissions.mode() & 0o777;
    if mode & 0o077 == 0 {
        return;
    }
    let was = format!("{mode:03o}");
    permissions.set_mode(mode & 0o700);
    match std::fs::set_permissions(path, permissions) {
        Ok(()) => {
            tracing::warn!(file = %path.display(), was, "others had access to a file of the store; it is private now");
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            let text = "others have access to a file of the store, and it cannot be made private";
            tracing::warn!(file = %path.display(), mode = was, error, "{text}; see to it that its owner runs the server");
        }
    }
}

#[cfg(not(unix))]
pub(crate) fn tighten(_path: &Path) {}
