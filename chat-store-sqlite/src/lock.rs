//! Locks of a data directory: one reserves it for one process, the other keeps backups and
//! restorations apart.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::{OpenError, private};

/// Name of the file whose lock reserves a data directory.
const LOCK_FILE: &str = "lock";
/// Number of attempts to get the lock. There are several, because a backup has the lock for a few
/// milliseconds, while it checks to which database the write-ahead log belongs.
const ATTEMPTS: u32 = 10;
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Lock on a data directory. An open store or a restoration has it alone; callers of
/// [`Self::hold_off`] share it. The operating system frees it when the process ends, for any
/// reason.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[allow(dead_code, reason = "closing the file frees the lock")] File);

impl DirectoryLock {
    /// Locks `directory`, and creates the file of the lock if it is missing. Fails with
    /// [`OpenError::InUse`] if the lock is taken at each of [`ATTEMPTS`] attempts. Blocks.
    #[allow(clippy::disallowed_methods, reason = "callers run on threads for blocking work")]
    pub(crate) fn acquire(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let not_writable = |source| OpenError::not_writable(&path, source);
        let mut options = private::options();
        let options = private::without_links(options.create(true).truncate(false));
        let file = options.open(&path).and_then(regular).map_err(not_writable)?;
        private::tighten_open(&file, &path);
        for _ in 1..ATTEMPTS {
            match locked(file.try_lock(), directory) {
                Err(OpenError::InUse { .. }) => std::thread::sleep(PAUSE),
                result => return result.map(|()| Self(file)),
            }
        }
        locked(file.try_lock(), directory).map(|()| Self(file))
    }

    /// Keeps stores from opening in `directory` until the lock is dropped. Fails with
    /// [`OpenError::InUse`] if one is open, or a restoration runs. Creates no file: if the file of
    /// the lock is missing, because no store was ever open in the directory, returns `None` and
    /// keeps no store from opening.
    pub(crate) fn hold_off(directory: &Path) -> Result<Option<Self>, OpenError> {
        let path = directory.join(LOCK_FILE);
        let opened = private::without_links(File::options().read(true)).open(&path);
        let file = match opened.and_then(regular) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::not_writable(&path, error)),
        };
        locked(file.try_lock_shared(), directory).map(|()| Some(Self(file)))
    }

    /// Gives the file of the lock to the owner of `directory`, which this lock is on.
    pub(crate) fn give_to_owner_of(&self, directory: &Path) -> io::Result<()> {
        private::give_to_owner_of_directory(&self.0, &directory.join(LOCK_FILE))
    }
}

/// Lock on the directory itself, which backups share and a restoration has alone. Without it, a
/// backup could open the restored database while the write-ahead log of the former database is
/// still beside it. On a file system without locks of directories, this lock has no effect.
#[derive(Debug)]
pub(crate) struct CopyLock(#[allow(dead_code, reason = "closing the directory frees the lock")] File);

impl CopyLock {
    /// Takes the lock together with other backups. Fails with [`OpenError::InUse`] during a
    /// restoration.
    pub(crate) fn for_backup(directory: &Path) -> Result<Self, OpenError> {
        Self::acquire(directory, File::try_lock_shared)
    }

    /// Takes the lock alone. Fails with [`OpenError::InUse`] during a backup or another
    /// restoration.
    pub(crate) fn for_restore(directory: &Path) -> Result<Self, OpenError> {
        Self::acquire(directory, File::try_lock)
    }

    fn acquire(directory: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let opened = File::open(private::directory_of(&path));
        let file = opened.map_err(|error| OpenError::not_writable(&path, error))?;
        match locked(lock(&file), directory) {
            Ok(()) | Err(OpenError::CannotLock { .. }) => Ok(Self(file)),
            Err(error) => Err(error),
        }
    }
}

fn locked(result: Result<(), TryLockError>, directory: &Path) -> Result<(), OpenError> {
    let directory = directory.to_owned();
    match result {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { directory }),
        Err(TryLockError::Error(source)) => Err(OpenError::CannotLock { directory, source }),
    }
}

/// Returns `file` if it is a regular file.
fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("the lock is not a regular file"))
}
