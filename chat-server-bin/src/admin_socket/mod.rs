//! The admin socket: a Unix socket in the data directory, through which the commands of operators
//! reach the server that runs there.
//!
//! The protocol is for programs on one machine, and a server refuses requests of another version of
//! the protocol. A connection carries requests, one after the other, each a JSON object on one
//! line; the server answers each with lines of JSON, the last of which says how the command ended.
//! Only the user who runs the server, and root, may connect: the socket has mode 0600, and the
//! server checks the user of each connection.
//!
//! ```text
//! → {"version":1,"json":false,"operator":null,"sudo_user":null,"command":"user_show","user":"bob"}
//! ← {"row":"id 1\nname bob\ndisplay name bob\nstate active\npassword set\ncreated …"}
//! ← "done"
//! ```

mod client;
mod connections;
mod listener;
mod protocol;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use client::AdminClient;
pub(crate) use listener::AdminSocket;
pub(crate) use protocol::{Reply, Request};

/// Name of the socket in the data directory.
const SOCKET_FILE: &str = "admin.sock";
/// Maximum size of the path of a Unix socket that every system accepts, in bytes.
const MAX_PATH_BYTES: usize = 100;

/// Path of a socket, as the system call gets it.
#[derive(Debug)]
struct SocketPath {
    path: PathBuf,
    /// Open directory of the socket, if the path leads through its file descriptor.
    _directory: Option<File>,
}

impl SocketPath {
    /// Returns the path of the file `name` in `directory`. The path of a Unix socket is limited to
    /// about 100 bytes, so a longer one leads through a file descriptor of the directory.
    fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self { path, _directory: None });
        }
        let open = File::open(directory)?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&open);
        Ok(Self {
            path: PathBuf::from(format!("/proc/self/fd/{descriptor}/{name}")),
            _directory: Some(open),
        })
    }
}
