//! Streams that may buffer written bytes: TLS, and streams that the application accepted itself.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{PeerAddr, Transport};

/// Maximum number of bytes in one write: the content of one TLS record.
const MAX_WRITE: usize = 16 * 1024;
/// Maximum number of bytes in one write while the peer does not read as fast as the server writes.
/// Buffered bytes count as progress only once all of them were flushed, so a slow peer has to read
/// this many bytes within [`ServerConfig::write_timeout`](super::ServerConfig::write_timeout).
const MAX_SLOW_WRITE: usize = 4 * 1024;

/// A byte stream that may buffer written bytes, together with the address of its peer. Each write
/// accepts at most [`MAX_WRITE`] bytes, and at most [`MAX_SLOW_WRITE`] after a flush that had to
/// wait, until a flush completes at once.
pub(super) struct BufferingStream<S> {
    inner: Pin<Box<S>>,
    peer: PeerAddr,
    /// True if the last flush had to wait for the peer.
    is_slow: bool,
    /// True while a flush waits for the peer.
    is_flushing: bool,
}

impl<S> BufferingStream<S> {
    pub(super) fn new(inner: S, peer: PeerAddr) -> Self {
        Self {
            inner: Box::pin(inner),
            peer,
            is_slow: false,
            is_flushing: false,
        }
    }
}

impl<S> fmt::Debug for BufferingStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferingStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Transport for BufferingStream<S> {
    fn peer(&self) -> PeerAddr {
        self.peer
    }
}

impl<S: AsyncRead> AsyncRead for BufferingStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite> AsyncWrite for BufferingStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let max = if self.is_slow { MAX_SLOW_WRITE } else { MAX_WRITE };
        let part = bytes.get(..max).unwrap_or(bytes);
        self.inner.as_mut().poll_write(cx, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.inner.as_mut().poll_flush(cx);
        let waited = self.is_flushing;
        self.is_flushing = flushed.is_pending();
        self.is_slow = waited || self.is_flushing;
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Stream that records the sizes of its writes, and whose first `waits` flushes have to wait.
    struct Recorder {
        writes: Vec<usize>,
        waits: u32,
        /// True if the current flush has already waited.
        has_waited: bool,
    }

    impl AsyncWrite for Recorder {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.writes.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.waits > 0 && !self.has_waited {
                self.has_waited = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.waits = self.waits.saturating_sub(1);
            self.has_waited = false;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes 48 KiB as a connection does, with a flush after each write, and returns the sizes of
    /// the writes.
    async fn writes(waits: u32) -> Vec<usize> {
        let recorder = Recorder {
            writes: Vec::new(),
            waits,
            has_waited: false,
        };
        let mut stream = BufferingStream::new(recorder, PeerAddr::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
        let mut output: &[u8] = &[0; 48 * 1024];
        while !output.is_empty() {
            let written = stream.write(output).await.unwrap();
            stream.flush().await.unwrap();
            output = &output[written..];
        }
        stream.inner.writes.clone()
    }

    #[tokio::test]
    async fn stream_writes_records_to_a_fast_peer() {
        assert_eq!(writes(0).await, [16 * 1024; 3]);
    }

    #[tokio::test]
    async fn stream_writes_small_steps_until_a_flush_completes_at_once() {
        let kib: Vec<usize> = writes(2).await.into_iter().map(|bytes| bytes / 1024).collect();
        assert_eq!(kib, [16, 4, 4, 16, 8]);
    }
}
