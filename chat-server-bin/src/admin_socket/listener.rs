//! The server's side of the admin socket.

use std::error::Error;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use zeroize::Zeroizing;

use super::connections::{Connections, WaitState};
use super::protocol::{self, MAX_REQUEST_BYTES, Reply, Request};
use super::{SOCKET_FILE, SocketPath};
use crate::failure::Failure;
use crate::operator::{CommandTarget, Printer, execute_for_peer};

/// Maximum number of connections in the queue of the operating system.
const BACKLOG: i32 = 64;
/// Maximum time until the first request of a connection is complete. The commands of operators send
/// it as soon as they have connected.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time from the end of an answer until the next request of the connection is complete.
const NEXT_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of lines of output that wait for a peer. Beyond it, the command waits.
const MAX_WAITING_REPLIES: usize = 64;
/// Pause after a failure to accept a connection, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The open admin socket. Dropping it ends its connections and removes the file; changes that have
/// started continue.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    path: PathBuf,
    accepting: AbortHandle,
}

impl AdminSocket {
    /// Opens the socket in `directory`, in place of the socket of a server that has ended. Must be
    /// called in a runtime.
    ///
    /// # Errors
    /// The socket cannot be created, or a running server has it ([`io::ErrorKind::AddrInUse`]).
    pub(crate) fn open(directory: &Path, target: CommandTarget) -> io::Result<Self> {
        let listener = UnixListener::from_std(bind(directory)?)?;
        let accepting = tokio::spawn(accept(listener, target)).abort_handle();
        Ok(Self {
            path: directory.join(SOCKET_FILE),
            accepting,
        })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.accepting.abort();
        // A socket that remains is replaced by the next server.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Creates the socket under a temporary name, and renames it once it has its mode, so that no other
/// user can connect before.
fn bind(directory: &Path) -> io::Result<StdListener> {
    let target = SocketPath::new(directory, SOCKET_FILE)?;
    if std::os::unix::net::UnixStream::connect(&target.path).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another server uses the admin socket of this data directory",
        ));
    }
    let new = SocketPath::new(directory, &format!("{SOCKET_FILE}.{}", std::process::id()))?;
    let _ = std::fs::remove_file(&new.path);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&new.path)?)?;
    let ready = std::fs::set_permissions(&new.path, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| socket.set_nonblocking(true))
        .and_then(|()| std::fs::rename(&new.path, &target.path));
    if let Err(error) = ready {
        let _ = std::fs::remove_file(&new.path);
        return Err(error);
    }
    Ok(StdListener::from(std::os::fd::OwnedFd::from(socket)))
}

/// Accepts connections, and owns their tasks.
async fn accept(listener: UnixListener, target: CommandTarget) {
    let mut connections = Connections::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let target = target.clone();
                connections.add(|wait_state| serve(stream, target, wait_state)).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "cannot accept a connection to the admin socket"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, target: CommandTarget, wait_state: Arc<WaitState>) {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn Error,
                "cannot determine the user who connects to the admin socket"
            );
            return;
        }
    };
    if uid != 0 && uid != geteuid().as_raw() {
        tracing::warn!(uid, "refused a user who may not connect to the admin socket");
        return;
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut timeout = FIRST_REQUEST_TIMEOUT;
    // A peer that breaks the connection needs no answer.
    while let Ok(Some(line)) = next_request(&mut reader, &mut writer, timeout).await {
        wait_state.end_wait();
        if answer(&line, &mut writer, &target, uid).await.is_err() {
            return;
        }
        wait_state.begin_wait();
        timeout = NEXT_REQUEST_TIMEOUT;
    }
}

/// Returns the line of the next request, or `None` if the connection has to end: the peer has
/// closed or broken it, sent no whole request in time, or sent too long a line, of which this tells
/// the peer.
async fn next_request(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    timeout: Duration,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let line = protocol::read_line(reader, MAX_REQUEST_BYTES);
    match tokio::time::timeout(timeout, line).await {
        Ok(Ok(line)) => Ok(line),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            protocol::write(writer, &Reply::Failed(format!("the request is malformed: {error}"))).await?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Answers a request.
async fn answer(line: &[u8], writer: &mut OwnedWriteHalf, target: &CommandTarget, uid: u32) -> io::Result<()> {
    let request = Request::parse(line).and_then(|request| {
        target.check_store(request.store.as_deref())?;
        Ok(request)
    });
    let end = match request {
        Ok(request) => execute(request, writer, target, uid).await?,
        Err(text) => Reply::Failed(text),
    };
    protocol::write(writer, &end).await
}

/// Executes a command and writes its output. Returns the last line of the answer.
async fn execute(request: Request, writer: &mut OwnedWriteHalf, target: &CommandTarget, uid: u32) -> io::Result<Reply> {
    let (sender, replies) = mpsc::channel(MAX_WAITING_REPLIES);
    let printer = Printer::to_peer(sender, request.json);
    let Request {
        operator,
        sudo_user,
        call,
        ..
    } = request;
    let execution = execute_for_peer(target, uid, sudo_user.as_deref(), operator, call, printer);
    let (result, written) = tokio::join!(execution, write_replies(writer, replies));
    written?;
    Ok(match result {
        Ok(()) => Reply::Done,
        Err(Failure::Unavailable(text)) => Reply::Unavailable(text),
        Err(failure) => Reply::Failed(failure.to_string()),
    })
}

/// Writes the replies of a command until it has ended. If the peer is gone, drops the receiver, and
/// so ends a command that prints.
async fn write_replies(writer: &mut OwnedWriteHalf, mut replies: mpsc::Receiver<Reply>) -> io::Result<()> {
    while let Some(reply) = replies.recv().await {
        protocol::write(writer, &reply).await?;
    }
    Ok(())
}
