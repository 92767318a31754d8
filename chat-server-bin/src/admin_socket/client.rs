//! The side of the program that runs a command of an operator.

use std::io;
use std::path::Path;

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
    /// Connects to the server that runs on `directory`. Returns `None` if none runs there.
    pub(crate) async fn connect(directory: &Path) -> Result<Option<Self>, Failure> {
        let connected = match SocketPath::new(directory, SOCKET_FILE) {
            Ok(socket) => UnixStream::connect(&socket.path).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(stream) => Ok(Some(Self {
                stream: BufReader::new(stream),
            })),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => Ok(None),
                // If not even the directory is accessible, the store reports that.
                io::ErrorKind::PermissionDenied if directory.join(SOCKET_FILE).symlink_metadata().is_err() => Ok(None),
                _ => Err(Failure::Unavailable(format!(
                    "cannot connect to {}: {error}; run this command as the user who runs the server, or as root",
                    directory.join(SOCKET_FILE).display()
                ))),
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

fn broken(error: io::Error) -> Failure {
    Failure::Unavailable(format!(
        "the connection to the running server broke before the command was complete ({error}); a change may have taken \
         effect or not"
    ))
}
