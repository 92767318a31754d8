//! Lock that reserves a data directory for one process.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::{OpenError, private};

/// Name of the file whose lock reserves a data directory.
pub(crate) const LOCK_FILE: &str = "lock";

/// Lock on a data directory, held while a store is open. The operating system frees it when the
/// process ends, for any reason.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[allow(dead_code, reason = "closing the file frees the lock")] File);

impl DirectoryLock {
    /// Locks `directory`. Does not wait: fails with [`OpenError::InUse`] if another store has the
    /// lock.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let not_writable = |source| OpenError::not_writable(&path, source);
        let mut options = private::options();
        let file = options.create(true).truncate(false).open(&path).map_err(not_writable)?;
        private::tighten(&path);
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
                directory: directory.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(OpenError::CannotLock {
                directory: directory.to_owned(),
                source,
            }),
        }
    }
}
