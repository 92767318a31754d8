//! The directory of a file, and durability of the name that the file has in it.

use std::{fs::File, io, path::Path};

/// Returns the directory of the file at `path`.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the name of the file at `path` durable, by a sync of its directory. On operating systems
/// that are not Unix, does nothing.
pub(crate) fn sync_name(path: &Path) -> io::Result<()> {
    // Other operating systems cannot open a directory as a file, so when the name becomes durable
    // is left to them.
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(directory_of(path)).and_then(|directory| directory.sync_all())
}
