//! [`GuardedTempDir`]: a temporary directory that is removed even if this process is killed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Shell script that waits for the end of its input and then removes the directory, after
/// unmounting a file system that is mounted on it. The input ends when this process drops the
/// handle or ends for any reason. The script retries for ten seconds, because processes that write
/// into the directory may still be ending. It runs in its own session, so signals to the process
/// group of this process do not reach it.
const CLEAN_UP: &str = r#"read -r _
umount --lazy "$1" 2>/dev/null
tries=0
until rm -rf -- "$1" 2>/dev/null || [ $tries -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done"#;

/// Directory of all temporary files that this process creates with the crate `tempfile` after
/// [`open`](Self::open). The directory is removed when the handle is dropped, or when the process
/// ends for any reason.
#[derive(Debug)]
pub struct GuardedTempDir {
    path: PathBuf,
    /// The shell that runs [`CLEAN_UP`].
    watcher: Child,
    /// Input of the watcher. Closing it starts the removal.
    input: Option<ChildStdin>,
}

impl GuardedTempDir {
    /// Creates the directory in the system's temporary directory.
    ///
    /// # Errors
    /// The directory cannot be created, the shell that removes it cannot be started, or the process
    /// has created such a directory before.
    pub fn open() -> io::Result<Self> {
        Self::open_in(&std::env::temp_dir())
    }

    /// Creates the directory in `directory`.
    ///
    /// # Errors
    /// As for [`GuardedTempDir::open`].
    pub fn open_in(directory: &Path) -> io::Result<Self> {
        let created = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(directory.canonicalize()?)?;
        let mut watcher = Command::new("setsid")
            .args(["sh", "-c", CLEAN_UP, "sh"])
            .arg(created.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let input = watcher.stdin.take();
        let temp_dir = Self {
            path: created.keep(),
            watcher,
            input,
        };
        tempfile::env::override_temp_dir(&temp_dir.path).map_err(|other| {
            io::Error::other(format!(
                "temporary files of this process already go to {}",
                other.display()
            ))
        })?;
        Ok(temp_dir)
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for GuardedTempDir {
    fn drop(&mut self) {
        self.input = None;
        // The result is ignored: files that cannot be removed stay.
        let _ = self.watcher.wait();
    }
}
