//! [`GuardedTempDir`]: a temporary directory that is removed even if its process is killed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Script of a shell in its own session, which no signal to the group of this process reaches. The
/// input of the shell ends when this process ends for any reason. Then the shell removes the
/// directory, and unmounts a disk from it. It retries, because processes that write into the
/// directory may still be ending.
const CLEAN_UP: &str = r#"read -r _
umount --lazy "$1" 2>/dev/null
tries=0
until rm -rf -- "$1" 2>/dev/null || [ $tries -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done"#;

/// The directory of all temporary files that this process creates from then on. The directory is
/// removed when the handle is dropped, or when the process ends for any reason.
#[derive(Debug)]
pub struct GuardedTempDir {
    path: PathBuf,
    watcher: Child,
    /// Input of the watcher; closing it starts the removal.
    input: Option<ChildStdin>,
}

impl GuardedTempDir {
    /// Creates the directory in the system's temporary directory.
    ///
    /// # Errors
    /// The directory cannot be created, or the process already has such a directory.
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
        // Files that cannot be removed stay.
        let _ = self.watcher.wait();
    }
}
