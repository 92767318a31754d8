//! Streams that may buffer written bytes: TLS, and streams that the application accepted itself.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::{PeerAddr, Transport};

/// Maximum number of bytes that a stream accepts in one write. Buffered bytes count as progress
/// only once all of them were flushed, so a slow peer has to read this many bytes within
/// [`ServerConfig::write_timeout`](super::ServerConfig::write_timeout).
const MAX_WRITE: usize = 4 * 1024;

/// Any byte stream, together with the address of its peer. It accepts at most [`MAX_WRITE`] bytes
/// per write.
pub(super) struct OwnedStream<S> {
    inner: Pin<Box<S>>,
    peer: PeerAddr,
}

impl<S> OwnedStream<S> {
    pub(super) fn new(inner: S, peer: PeerAddr) -> Self {
        Self {
            inner: Box::pin(inner),
            peer,
        }
    }
}

impl<S> fmt::Debug for OwnedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Transport for OwnedStream<S> {
    fn peer(&self) -> PeerAddr {
        self.peer
    }
}

impl<S: AsyncRead> AsyncRead for OwnedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite> AsyncWrite for OwnedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let part = bytes.get(..MAX_WRITE).unwrap_or(bytes);
        self.inner.as_mut().poll_write(cx, part)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().poll_shutdown(cx)
    }
}
