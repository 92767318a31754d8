//! Byte streams over messages, such as those of a WebSocket.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum size of a message that a [`MessageStream`] sends, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Byte stream over a stream and a sink of binary messages. It concatenates the bytes of all
/// messages. Message boundaries have no meaning, so each side may split its bytes freely.
///
/// A WebSocket carries the protocol in this way: see [`from_socket`](Self::from_socket) and
/// [`Server::serve_stream`](crate::server::Server::serve_stream).
pub struct MessageStream<M> {
    messages: M,
    /// Bytes of the last received message that the reader has not taken yet.
    unread: Bytes,
}

impl<M> MessageStream<M> {
    /// Wraps a stream and sink of the payloads of binary messages.
    #[must_use]
    pub const fn new(messages: M) -> Self {
        Self {
            messages,
            unread: Bytes::new(),
        }
    }

    /// Wraps a socket with messages of a type `T`, such as a WebSocket. `payload` returns the bytes
    /// of a binary message, and `None` for a message to skip; `binary` creates a binary message
    /// from bytes. The socket must answer pings by itself, as the sockets of most libraries do.
    ///
    /// # Examples
    /// With a WebSocket of the `axum` crate:
    ///
    /// ```ignore
    /// let payload = |message| match message {
    ///     Message::Binary(bytes) => Some(bytes),
    ///     _ => None,
    /// };
    /// let stream = MessageStream::from_socket(socket, payload, Message::Binary);
    /// server.serve_stream(stream, client_address.into()).await;
    /// ```
    pub fn from_socket<T, E>(
        socket: M,
        payload: impl Fn(T) -> Option<Bytes>,
        binary: impl Fn(Bytes) -> T,
    ) -> MessageStream<impl Stream<Item = io::Result<Bytes>> + Sink<Bytes, Error = io::Error> + Unpin>
    where
        M: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let messages = socket
            .filter_map(move |message| std::future::ready(message.map_err(io::Error::other).map(&payload).transpose()))
            .with(move |bytes| std::future::ready(Ok::<_, E>(binary(bytes))))
            .sink_map_err(io::Error::other);
        MessageStream::new(messages)
    }
}

impl<M> fmt::Debug for MessageStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream")
            .field("unread", &self.unread.len())
            .finish_non_exhaustive()
    }
}

impl<M: Stream<Item = io::Result<Bytes>> + Unpin> AsyncRead for MessageStream<M> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
                Some(message) => self.unread = message?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<M: Sink<Bytes, Error = io::Error> + Unpin> AsyncWrite for MessageStream<M> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.messages).poll_ready(cx))?;
        let message = bytes.get(..MAX_MESSAGE_BYTES).unwrap_or(bytes);
        Pin::new(&mut self.messages).start_send(Bytes::copy_from_slice(message))?;
        Poll::Ready(Ok(message.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.messages).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    /// Creates one end of a pipe that carries messages.
    fn pipe_end(sender: mpsc::Sender<Bytes>, receiver: mpsc::Receiver<Bytes>) -> impl AsyncRead + AsyncWrite {
        let received = futures_util::stream::unfold(receiver, async |mut receiver| {
            let message = receiver.recv().await?;
            Some((Ok(message), receiver))
        });
        let sent = futures_util::sink::unfold(sender, async |sender: mpsc::Sender<_>, message| {
            let sent = sender.send(message).await;
            sent.map(|()| sender).map_err(|_| io::ErrorKind::BrokenPipe.into())
        });
        tokio::io::join(MessageStream::new(received.boxed()), MessageStream::new(Box::pin(sent)))
    }

    #[tokio::test]
    async fn message_stream_carries_bytes_across_message_boundaries() {
        let (to_b, from_a) = mpsc::channel(4);
        let (to_a, from_b) = mpsc::channel(4);
        let (mut a, mut b) = (pipe_end(to_b, from_b), pipe_end(to_a, from_a));
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let sent = bytes.clone();
        let sending = tokio::spawn(async move {
            a.write_all(&sent).await.unwrap();
            a.flush().await.unwrap();
            let mut answer = Vec::new();
            a.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut received = vec![0; bytes.len()];
        b.read_exact(&mut received).await.unwrap();
        assert!(received == bytes);
        b.write_all(b"end").await.unwrap();
        b.flush().await.unwrap();
        drop(b);
        assert_eq!(sending.await.unwrap(), b"end");
    }
}
