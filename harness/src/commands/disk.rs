//! [`Disk`]: a disk of limited size.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use crate::GuardedTempDir;

/// Size of the first writes that fill the disk, in bytes. Later writes are smaller.
const CHUNK_BYTES: usize = 1 << 20;

/// File system of limited size, in memory. It is unmounted when its [`GuardedTempDir`] is removed.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts a file system of the size `size` (for example `512M`) on `temp_dir`.
    ///
    /// # Errors
    /// The file system cannot be mounted, for example because the process does not run as root, the
    /// system is not Linux, or `size` is not a size.
    pub fn mount(temp_dir: &GuardedTempDir, size: &str) -> io::Result<Self> {
        let path = temp_dir.path();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "chat-cluster"])
            .arg(path)
            .output()?;
        if !mounted.status.success() {
            let errors = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
            return Err(io::Error::other(format!(
                "cannot mount a disk of size {size}: {errors}"
            )));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Returns the path of the file that fills the disk.
    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills the free space of the disk with one file.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        let mut chunk = vec![0; CHUNK_BYTES];
        // After a failed write, the next one is half as large, down to a byte.
        while !chunk.is_empty() {
            match ballast.write(&chunk) {
                Ok(written) if written > 0 => {}
                Ok(_) => chunk.truncate(chunk.len() / 2),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => chunk.truncate(chunk.len() / 2),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the file that fills the disk.
    pub(super) fn free(&self) -> io::Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
