//! The client's side of the admin socket: sends the command of an operator to the running server.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::geteuid;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::protocol::{self, MAX_REPLY_BYTES, Reply, Request};
use super::{SOCKET_FILE, SocketPath};
use crate::failure::Failure;
use crate::output::{Lines, report};

/// Connection to the server that runs on a data directory.
#[derive(Debug)]
pub(crate) struct AdminClient {
    stream: BufReader<UnixStream>,
}

impl AdminClient {
    /// Connects to the server that runs on `directory`. Returns `None` if none runs there, or if
    /// this process may not look into the directory.
    pub(crate) async fn connect(directory: &Path) -> Result<Option<Self>, Failure> {
        let connected = match SocketPath::new(directory, SOCKET_FILE) {
            Ok(socket) => UnixStream::connect(&socket.path).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(stream) => {
                check_peer(&stream, directory)?;
                Ok(Some(Self {
                    stream: BufReader::new(stream),
                }))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => Ok(None),
                // The directory is not accessible. The caller then opens the store, which fails
                // with a report of the cause if the store is in this directory.
                io::ErrorKind::PermissionDenied if directory.join(SOCKET_FILE).symlink_metadata().is_err() => Ok(None),
                kind => {
                    let advice = match kind {
                        io::ErrorKind::PermissionDenied => {
                            "run this command as the user who runs the server, or as root"
                        }
                        io::ErrorKind::WouldBlock => "other commands are waiting too; try again later",
                        _ => "check the data directory and the server",
                    };
                    let socket = directory.join(SOCKET_FILE);
                    Err(Failure::Unavailable(format!(
                        "cannot connect to {}: {error}; {advice}",
                        socket.display()
                    )))
                }
            },
        }
    }

    /// Sends a request, and prints the answer.
    pub(crate) async fn call(&mut self, request: &Request) -> Result<(), Failure> {
        let mut lines = Lines::new();
        protocol::write(&mut self.stream, request).await.map_err(broken)?;
        loop {
            let reply = protocol::read(&mut self.stream, MAX_REPLY_BYTES)
                .await
                .map_err(broken)?;
            match reply {
                Some(Reply::Row(line)) => lines.text(&line)?,
                Some(Reply::Result(text)) => report(&text)?,
                Some(Reply::Done) => return lines.finish(),
                Some(Reply::Failed(text)) => return Err(Failure::Failed(text)),
                Some(Reply::Unavailable(text)) => return Err(Failure::Unavailable(text)),
                None => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}

/// Fails unless the process that listens on the socket belongs to root or to the user who runs this
/// command, because commands contain passwords. For root, the process may also belong to the owner
/// of the data directory.
fn check_peer(stream: &UnixStream, directory: &Path) -> Result<(), Failure> {
    let socket = directory.join(SOCKET_FILE);
    let failed = |error: io::Error| {
        Failure::Unavailable(format!("cannot determine who listens on {}: {error}", socket.display()))
    };
    let peer = stream.peer_cred().map_err(failed)?.uid();
    let user = geteuid();
    let owner = std::fs::metadata(directory).map_err(failed)?.uid();
    if peer == 0 || peer == user.as_raw() || (user.is_root() && peer == owner) {
        return Ok(());
    }
    Err(Failure::Unavailable(format!(
        "the user with the id {peer} listens on {}, and this command trusts only root, the user who runs the command, \
         and, if that is root, the owner of the data directory; check who can write to the data directory",
        socket.display()
    )))
}

fn broken(error: io::Error) -> Failure {
    Failure::Unavailable(format!(
        "the connection to the running server broke before the command was complete ({error}); a change may have taken \
         effect or not"
    ))
}
