//! [`Disk`]: a disk that can be full.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

use crate::GuardedTempDir;

/// Size of a write that fills the disk.
const PIECE: usize = 1 << 20;

/// File system of limited size, in memory. It is unmounted with the directory that it is for.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts a file system of this size (`512M`) on the directory of temporary files.
    ///
    /// # Errors
    /// The process does not run as root, or not on Linux.
    pub fn mount(temp_dir: &GuardedTempDir, size: &str) -> io::Result<Self> {
        let path = temp_dir.path();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "chat-cluster"])
            .arg(path)
            .output()?;
        if !mounted.status.success() {
            let errors = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
            return Err(io::Error::other(format!("a disk cannot be mounted: {errors}")));
        }
        Ok(Self { path: path.to_owned() })
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills the free space.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        let mut piece = vec![0; PIECE];
        // Each write is smaller than the one that failed, down to a byte.
        while !piece.is_empty() {
            match ballast.write(&piece) {
                Ok(written) if written > 0 => {}
                Ok(_) => piece.truncate(piece.len() / 2),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => piece.truncate(piece.len() / 2),
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
