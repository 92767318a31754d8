//! A connection's bytes: read and decrypted into packets, gathered, encrypted and written.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::codec::frame::FrameDecoder;
use crate::model::CloseCode;
use crate::secure::{OpenError, Opened, Opener, Sealer};
use crate::transport::Transport;

/// Read at once. Lives on the stack while the socket is read, so that an idle connection owns no buffer.
const READ_AT_ONCE: usize = 16 * 1024;

/// Output that waits for the peer beyond which nothing more is asked of it, or answered.
const FULL: usize = 64 * 1024;

/// How a connection fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the stream broke")]
    Io(#[from] io::Error),
    #[error("the peer broke the channel")]
    Channel(#[from] OpenError),
    #[error("the peer left without closing the channel")]
    Truncated,
    #[error("the peer closed the channel")]
    Closed,
    #[error("a packet is too large")]
    TooLarge,
    #[error("the channel is spent")]
    Spent,
}

/// The protection of a stream: SC1, or what is under it (TLS, or nothing) does it.
#[derive(Debug)]
pub(super) enum Protection {
    Sc1(Box<(Sealer, Opener)>),
    Stream,
}

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Box<dyn Transport>,
    protection: Protection,
    /// Read, not yet decrypted.
    sealed: BytesMut,
    frames: FrameDecoder,
    /// Encrypted, not yet written.
    output: BytesMut,
    /// The output is in part written: its buffer is larger than it says.
    begun: bool,
    /// Of the output, from the connection's beginning.
    written: u64,
    /// The peer has shown that it has the keys: before that nothing is sent over a channel.
    proven: bool,
    shut: bool,
}

impl Wire {
    /// Takes over a stream, and what was read of it beyond the handshake.
    pub(super) fn new(stream: Box<dyn Transport>, protection: Protection, limit: usize) -> Self {
        Self {
            stream,
            sealed: BytesMut::new(),
            frames: FrameDecoder::new(limit),
            output: BytesMut::new(),
            begun: false,
            written: 0,
            proven: matches!(protection, Protection::Stream),
            shut: false,
            protection,
        }
    }

    /// Whether the peer may be told anything.
    pub(super) const fn may_send(&self) -> bool {
        self.proven
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.frames.set_limit(limit);
    }

    /// The next packet that has arrived whole.
    pub(super) fn next_packet(&mut self, now: Instant) -> Result<Option<Bytes>, WireError> {
        loop {
            if let Some(packet) = self.frames.next_packet().map_err(|_| WireError::TooLarge)? {
                return Ok(Some(packet));
            }
            let Protection::Sc1(channel) = &mut self.protection else {
                break;
            };
            match channel.1.feed(now, &mut self.sealed)? {
                Opened::Data(plain) => {
                    self.proven = true;
                    self.frames.feed(plain);
                }
                Opened::Close(_) => return Err(WireError::Closed),
                Opened::NeedMore => break,
            }
        }
        if self.sealed.is_empty() {
            self.sealed = BytesMut::new();
        }
        self.frames.shrink();
        Ok(None)
    }

    /// Reads what there is; an error at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        let mut stack = [MaybeUninit::<u8>::uninit(); READ_AT_ONCE];
        let mut read = ReadBuf::uninit(&mut stack);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Err(self.ended())),
            Poll::Ready(Ok(())) => {
                match &self.protection {
                    Protection::Sc1(_) => self.sealed.extend_from_slice(read.filled()),
                    Protection::Stream => self.frames.buffer().extend_from_slice(read.filled()),
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    fn ended(&mut self) -> WireError {
        match &mut self.protection {
            Protection::Sc1(channel) => match channel.1.end_of_stream(&self.sealed) {
                Ok(()) => WireError::Closed,
                Err(_) => WireError::Truncated,
            },
            Protection::Stream if self.frames.is_empty() => WireError::Closed,
            Protection::Stream => WireError::Truncated,
        }
    }

    /// Makes these frames, in one record if they fit, ready to be written.
    pub(super) fn send(&mut self, now: Instant, frames: &mut Vec<Bytes>) -> Result<(), WireError> {
        match &mut self.protection {
            Protection::Sc1(channel) => {
                if self.output.capacity() == 0 {
                    self.output = spare::take();
                }
                let size: usize = frames.iter().map(Bytes::len).sum();
                self.output.reserve(size + RECORD_OVERHEAD);
                let append = |out: &mut BytesMut| frames.iter().for_each(|frame| out.extend_from_slice(frame));
                channel
                    .0
                    .seal_with(now, &mut self.output, append)
                    .map_err(|_| WireError::Spent)?;
            }
            Protection::Stream => frames.iter().for_each(|frame| self.output.extend_from_slice(frame)),
        }
        frames.clear();
        Ok(())
    }

    /// Says in the channel that nothing follows.
    pub(super) fn send_close(&mut self, code: CloseCode) {
        if let Protection::Sc1(channel) = &mut self.protection {
            // A channel that is spent cannot say so; the end of the stream does.
            let _ = channel.0.seal_close(code.number(), &mut self.output);
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether so much waits to be written that nothing should be added.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= FULL
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Bytes that were written since the connection began.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that were to be written since the connection began.
    pub(super) fn handed_over(&self) -> u64 {
        self.written.saturating_add(length(self.output.len()))
    }

    /// Writes what can be written now; ready once everything is.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.written = self.written.saturating_add(length(written));
                    if written < self.output.len() {
                        self.output.advance(written);
                        self.begun = true;
                    } else {
                        self.output.clear();
                    }
                }
            }
        }
        let output = std::mem::take(&mut self.output);
        // What no channel protects is somebody's text: it does not lie about.
        if !std::mem::take(&mut self.begun) && matches!(self.protection, Protection::Sc1(_)) {
            spare::give_back(output);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Writes what is left, ends the stream, and waits until the peer has ended it too: a socket closed with something unread
    /// takes back what the peer has not read yet.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if !self.shut {
                ready!(self.poll_flush(cx))?;
                self.shut = true;
            }
            Pin::new(&mut self.stream).poll_shutdown(cx)
        })
        .await?;
        self.sealed = BytesMut::new();
        let mut unread = UNREAD;
        while unread > 0 {
            unread = unread.saturating_sub(poll_fn(|cx| self.poll_discard(cx)).await?);
        }
        Ok(())
    }

    /// Reads and forgets. An error at the end of the stream.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stack = [MaybeUninit::<u8>::uninit(); READ_AT_ONCE];
        let mut read = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        match read.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            discarded => Poll::Ready(Ok(discarded)),
        }
    }
}

/// How much of what a peer still sends is read before it is cut off.
const UNREAD: usize = 256 * 1024;

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Length, type and tag of a record, rounded up.
const RECORD_OVERHEAD: usize = 32;

/// A buffer for output that the connections of a thread take in turns. Most write at once what they have, so that one buffer serves all
/// of them and stays in the cache; one that waits for its peer keeps it, and the next one gets another. Holds records, no text.
mod spare {
    use std::cell::Cell;

    use bytes::BytesMut;

    /// Smaller ones are made as needed; larger ones are not kept.
    const KEPT: std::ops::RangeInclusive<usize> = 4 * 1024..=2 * super::FULL;

    thread_local! {
        static SPARE: Cell<BytesMut> = Cell::default();
    }

    pub(super) fn take() -> BytesMut {
        SPARE.take()
    }

    pub(super) fn give_back(buffer: BytesMut) {
        if KEPT.contains(&buffer.capacity()) {
            SPARE.set(buffer);
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn one_of_a_middling_size_is_kept() {
            for (size, kept) in [(64, 0), (1024 * 1024, 0), (48 * 1024, 48 * 1024)] {
                give_back(BytesMut::with_capacity(size));
                assert_eq!(take().capacity(), kept);
            }
            assert_eq!(take().capacity(), 0, "nobody else gets it meanwhile");
        }
    }
}
