//! Pipes within one process, which connect a server and its clients without a socket, for tests
//! and embedding.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::DuplexStream,
    sync::{Mutex, mpsc},
};

use super::{PeerAddr, Stream};

/// One end of a pipe.
pub type MemoryTransport = Stream<DuplexStream>;

/// Number of bytes that each direction of a pipe holds before its writer waits.
pub const PIPE_CAPACITY: usize = 64 * 1024;

/// Creates the two ends of a pipe without a listener.
#[must_use]
pub fn pipe() -> (MemoryTransport, MemoryTransport) {
    numbered_pipe(0)
}

/// Creates a listener and the connector for it. At most `backlog` pipes wait to be accepted;
/// further calls of [`MemoryConnector::connect`] wait until there is room.
///
/// # Panics
/// If `backlog` is 0.
#[must_use]
pub fn listener(backlog: usize) -> (MemoryConnector, MemoryListener) {
    let (sender, receiver) = mpsc::channel(backlog);
    let connector = MemoryConnector {
        sender,
        next_number: Arc::new(AtomicU64::new(1)),
    };
    let listener = MemoryListener {
        receiver: Mutex::new(receiver),
    };
    (connector, listener)
}

/// Opens pipes to the [`MemoryListener`] that was created together with this connector. Clones
/// connect to the same listener.
#[derive(Debug, Clone)]
pub struct MemoryConnector {
    sender: mpsc::Sender<MemoryTransport>,
    /// Number of the next pipe.
    next_number: Arc<AtomicU64>,
}

impl MemoryConnector {
    /// Opens a pipe to the listener. Waits while the backlog of the listener is full.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`]: the listener was dropped.
    ///
    /// # Cancel safety
    /// Dropping the future opens no pipe.
    pub async fn connect(&self) -> io::Result<MemoryTransport> {
        let (ours, theirs) = numbered_pipe(self.next_number.fetch_add(1, Ordering::Relaxed));
        self.sender
            .send(theirs)
            .await
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }
}

/// Accepts the pipes that a [`MemoryConnector`] opens.
#[derive(Debug)]
pub struct MemoryListener {
    receiver: Mutex<mpsc::Receiver<MemoryTransport>>,
}

impl MemoryListener {
    /// Waits for the next pipe.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`]: all connectors were dropped, so no pipe can follow.
    ///
    /// # Cancel safety
    /// Dropping the future loses no pipe.
    pub async fn accept(&self) -> io::Result<MemoryTransport> {
        let next = self.receiver.lock().await.recv().await;
        next.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// Creates a pipe. Both ends report [`PeerAddr::Memory`] with this number as their peer.
fn numbered_pipe(number: u64) -> (MemoryTransport, MemoryTransport) {
    let (ours, theirs) = tokio::io::duplex(PIPE_CAPACITY);
    let peer = PeerAddr::Memory(number);
    (Stream::new(ours, peer), Stream::new(theirs, peer))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::transport::Transport;

    #[tokio::test]
    async fn pipe_carries_bytes() {
        let (connector, listener) = listener(1);
        let (client, server) = tokio::join!(connector.connect(), listener.accept());
        let mut client: Box<dyn Transport> = Box::new(client.unwrap());
        let mut server: Box<dyn Transport> = Box::new(server.unwrap());
        assert_eq!(server.peer(), PeerAddr::Memory(1));
        client.write_all(b"ping").await.unwrap();
        drop(client);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"ping");
    }

    #[tokio::test]
    async fn connector_and_listener_report_that_the_other_was_dropped() {
        let (connector, gone) = listener(1);
        drop(gone);
        let refused = connector.connect().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let (gone, listener) = listener(1);
        drop(gone);
        let ended = listener.accept().await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }
}
