//! The Unix socket of an agent. On Linux, its path may be longer than the address of a socket can
//! hold.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Maximum length of the path in the address of a Unix socket, in bytes.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Deletes what a terminated process may have left at `path`, and binds a listener to the path.
///
/// # Errors
/// The socket cannot be bound. On systems other than Linux, this is also the case for a path that
/// is longer than the address of a socket can hold.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    let _ = fs::remove_file(path); // it may not exist
    UnixListener::bind(&Address::of(path)?.path)
}

/// Connects to the socket at `path`.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let address = Address::of(path)?;
    UnixStream::connect(&address.path).await
}

/// A path that fits in the address of a socket.
struct Address {
    path: PathBuf,
    /// Directory of the socket, which `path` refers to by the number of this open file. `None` if
    /// the path was short enough.
    _directory: Option<File>,
}

impl Address {
    fn of(path: &Path) -> io::Result<Self> {
        let (directory, name) = match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) if path.as_os_str().len() > MAX_PATH_BYTES => (directory, name),
            _ => {
                return Ok(Self {
                    path: path.to_owned(),
                    _directory: None,
                });
            }
        };
        let directory = File::open(directory)?;
        let short = path_of_open_directory(&directory).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path is longer than {MAX_PATH_BYTES} bytes, the maximum for the address of a socket"),
            )
        })?;
        Ok(Self {
            path: short.join(name),
            _directory: Some(directory),
        })
    }
}

#[cfg(target_os = "linux")]
fn path_of_open_directory(directory: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd as _;

    Some(format!("/proc/self/fd/{}", directory.as_raw_fd()).into())
}

#[cfg(not(target_os = "linux"))]
fn path_of_open_directory(_: &File) -> Option<PathBuf> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_is_reached_under_short_and_long_paths() {
        for length in [1, 100, 250] {
            let directory = tempfile::tempdir().unwrap();
            let deep = directory.path().join("d".repeat(length));
            fs::create_dir(&deep).unwrap();
            let path = deep.join("agent");
            fs::write(&path, "left behind").unwrap();
            let listener = bind(&path).unwrap();
            let (connected, accepted) = tokio::join!(connect(&path), listener.accept());
            assert!(connected.is_ok() && accepted.is_ok(), "{length}");
        }
    }
}
