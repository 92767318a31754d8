//! File permissions: only the owner may read the files, which hold the messages of all users.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions};
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

/// Creates `database` if it is missing, because SQLite would let other users read it, unless the
/// umask forbids that. Does not open an existing file, because closing a file releases all locks
/// that this process has on it.
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

/// Gives the open file `file` to the owner and the group of the directory of `path`, so that a
/// server that runs as this owner can use a file that root has created. Does nothing if the file
/// has that owner already.
///
/// Changes the open file and not what has its name now: the owner of the directory can replace the
/// file by a link to a file of the system. For the same reason, it keeps the owner of a file that
/// has several names.
#[cfg(unix)]
pub(crate) fn give_to_owner_of_directory(file: &File, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let directory = std::fs::metadata(directory_of(path))?;
    let metadata = file.metadata()?;
    if metadata.uid() == directory.uid() || !has_one_name(&metadata) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(directory.uid()), Some(directory.gid()))
}

#[cfg(not(unix))]
pub(crate) fn give_to_owner_of_directory(_file: &File, _path: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns whether this is a regular file without a second name, which may be in a directory of the
/// system.
#[cfg(unix)]
fn has_one_name(metadata: &Metadata) -> bool {
    metadata.is_file() && std::os::unix::fs::MetadataExt::nlink(metadata) == 1
}

#[cfg(not(unix))]
fn has_one_name(metadata: &Metadata) -> bool {
    metadata.is_file()
}

/// Lets `options` fail for a symbolic link, and not wait for the other end of a named pipe.
pub(crate) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits().cast_signed());
    }
    options
}

/// Removes the access of other users to a database and to the files beside it.
pub(crate) fn tighten_all(database: &Path) {
    // A database that is a link or has several names is changed too, because it was found to hold a
    // store of this program. A link in the place of a file beside it may lead to a file of the
    // system, and is not followed. SQLite does not follow it either.
    let target = database.canonicalize();
    tighten(target.as_deref().unwrap_or(database), Metadata::is_file);
    for suffix in SUFFIXES {
        tighten(&beside(database, suffix), has_one_name);
    }
}

/// Returns the path of the file beside `database` whose name has this suffix.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}

/// Removes the access of other users to a file for which `is_suitable` returns `true`. Logs a
/// warning if they had access, because they may have read the file. Ignores a missing file, and a
/// link.
///
/// Does not open the file for reading or writing, because closing a file of SQLite releases all
/// locks that this process has on it. A descriptor that only names the file (`O_PATH`) does not.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn tighten(path: &Path, is_suitable: fn(&Metadata) -> bool) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(descriptor) = rustix::fs::open(path, flags, Mode::empty()) else {
        return;
    };
    let file = File::from(descriptor);
    if let Ok(metadata) = file.metadata()
        && is_suitable(&metadata)
    {
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        tighten_with(path, &metadata, |permissions| {
            std::fs::set_permissions(format!("/proc/self/fd/{number}"), permissions)
        });
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn tighten(path: &Path, is_suitable: fn(&Metadata) -> bool) {
    if let Ok(metadata) = std::fs::symlink_metadata(path)
        && is_suitable(&metadata)
    {
        tighten_with(path, &metadata, |permissions| {
            std::fs::set_permissions(path, permissions)
        });
    }
}

/// Does the same as [`tighten`] for an open file, whatever has its name now. Keeps the access to a
/// file that has several names, because it may be a file of the system.
#[cfg(unix)]
pub(crate) fn tighten_open(file: &File, path: &Path) {
    if let Ok(metadata) = file.metadata()
        && has_one_name(&metadata)
    {
        tighten_with(path, &metadata, |permissions| file.set_permissions(permissions));
    }
}

#[cfg(not(unix))]
pub(crate) fn tighten_open(_file: &File, _path: &Path) {}

#[cfg(unix)]
fn tighten_with(path: &Path, metadata: &Metadata, set: impl FnOnce(Permissions) -> io::Result<()>) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut permissions = metadata.permissions();
    let bits = permissions.mode() & 0o777;
    if bits & 0o077 == 0 {
        return;
    }
    let mode = format!("{bits:03o}");
    permissions.set_mode(bits & 0o700);
    match set(permissions) {
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
fn tighten_with(_: &Path, _: &Metadata, _: impl FnOnce(Permissions) -> io::Result<()>) {}
