//! [`Workplace`].

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell in a session of its own, which no signal to this process's group reaches. Its input ends when this process does, in whatever
/// way; then it takes away the directory, and a disk that was mounted there. Those who still write into it are about to end too.
const AFTERWARDS: &str = r#"read -r _
umount --lazy "$1" 2>/dev/null
tries=0
until rm -rf -- "$1" 2>/dev/null || [ $tries -ge 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done"#;

/// A directory for everything temporary that this process makes from then on. It goes when this is dropped, or with the process, however
/// that one ends.
#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
    cleaner: Child,
    /// Its end is the sign to clean.
    input: Option<ChildStdin>,
}

impl Workplace {
    /// Makes one for this program in the usual place.
    ///
    /// # Errors
    /// The operating system's, or there is one already.
    pub fn open() -> io::Result<Self> {
        Self::open_in(&std::env::temp_dir())
    }

    /// Makes one in this directory.
    ///
    /// # Errors
    /// As [`Workplace::open`].
    pub fn open_in(directory: &Path) -> io::Result<Self> {
        let made = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(directory.canonicalize()?)?;
        let mut cleaner = Command::new("setsid")
            .args(["sh", "-c", AFTERWARDS, "sh"])
            .arg(made.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let input = cleaner.stdin.take();
        let workplace = Self {
            path: made.keep(),
            cleaner,
            input,
        };
        tempfile::env::override_temp_dir(&workplace.path)
            .map_err(|other| io::Error::other(format!("data go to {} already", other.display())))?;
        Ok(workplace)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        self.input = None;
        // What it could not take away is left for the administrator to see.
        let _ = self.cleaner.wait();
    }
}
