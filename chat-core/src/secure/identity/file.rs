//! File with a server's identity key, in PKCS#8 PEM. On Unix, it is written with mode 0600, and
//! refused if users other than its owner can access it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::ServerIdentity;
use crate::secure::error::IdentityError;

/// Maximum number of bytes of a key file that are read.
const MAX_FILE_BYTES: u64 = 64 << 10;

impl ServerIdentity {
    /// Reads the key from `path`.
    ///
    /// # Errors
    /// The file cannot be read, users other than its owner can access it (checked only on Unix), or
    /// it does not contain a valid key.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| file_error(path, source);
        let file = File::open(path).map_err(failed)?;
        check_mode(path, &file)?;
        let mut pem = Zeroizing::new(String::with_capacity(4096));
        // A key takes a few KiB. Of a larger file, only the beginning is read.
        file.take(MAX_FILE_BYTES).read_to_string(&mut pem).map_err(failed)?;
        Self::from_pem(&pem)
    }

    /// Writes the key to the new file `path`, on Unix with mode 0600, and makes it durable. After a
    /// crash, the file is complete or does not exist; a temporary file with the key may remain
    /// beside it.
    ///
    /// # Errors
    /// The file exists already (it is not overwritten), it cannot be written or made durable, or
    /// the key cannot be encoded.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let pem = self.to_pem()?;
        save_new(path, pem.as_bytes()).map_err(|source| file_error(path, source))
    }

    /// Reads the key from `path`. If there is no file, generates a key of 3072 bits and writes it.
    /// Processes that start at the same time use the same key.
    ///
    /// # Errors
    /// As for [`ServerIdentity::load`], [`ServerIdentity::generate`] and [`ServerIdentity::save`].
    pub fn load_or_generate(path: &Path) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let identity = Self::generate(Self::DEFAULT_BITS)?;
        match identity.save(path) {
            Ok(()) => Ok(identity),
            Err(IdentityError::File { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(path)
            }
            Err(error) => Err(error),
        }
    }
}

/// Writes a temporary file, which on Unix only the owner can read, creates `path` as a hard link to
/// it, removes the temporary file, and syncs the directory. Fails if `path` exists.
fn save_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let result = write_private(&temporary, content).and_then(|()| fs::hard_link(&temporary, path));
    // The temporary file is removed even after an error, because it holds a private key.
    let removed = match fs::remove_file(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    result.and(removed)?;
    File::open(directory_of(path))?.sync_all()
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", uuid::Uuid::new_v4().simple()));
    path.with_file_name(name)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), IdentityError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|source| file_error(path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(IdentityError::Permissions {
        path: path.display().to_string(),
        mode,
    })
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &File) -> Result<(), IdentityError> {
    Ok(())
}

fn file_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File {
        path: path.display().to_string(),
        source,
    }
}
