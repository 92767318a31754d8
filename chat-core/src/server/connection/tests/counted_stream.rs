//! Stream that counts its writes.

use super::*;

/// Counters of the server's writes to one client.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Number of writes that the stream accepted.
    pub(super) count: AtomicUsize,
    /// Maximum number of bytes that the server has offered in one write. Each write offers all
    /// pending output of the connection.
    pub(super) largest: AtomicUsize,
}

impl Writes {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }
}

/// The server's end of a pipe, with its writes counted.
#[derive(Debug)]
pub(super) struct CountedStream {
    inner: MemoryTransport,
    writes: Arc<Writes>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.largest.fetch_max(bytes.len(), Ordering::Relaxed);
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.writes.count.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Transport for CountedStream {
    fn peer(&self) -> PeerAddr {
        self.inner.peer()
    }
}

/// Connects to the server and counts the writes of the server to this connection.
pub(super) fn connect_counted(server: &Server) -> (MemoryTransport, Arc<Writes>) {
    let (inner, client) = transport::pipe();
    let writes = Arc::new(Writes::default());
    let stream = CountedStream {
        inner,
        writes: Arc::clone(&writes),
    };
    accept::admit(Box::new(stream), &Protocol::Plain, &server.shared);
    (client, writes)
}
