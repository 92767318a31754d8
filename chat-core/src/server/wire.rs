//! Input and output of a connection: reads input and cuts it into packets, and writes output. With
//! SC1, it also decrypts the input and encrypts the output.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroize as _;

use crate::codec::frame::FrameDecoder;
use crate::model::CloseCode;
use crate::secure::{OpenError, Opened, Opener, RECORD_OVERHEAD, Sealer};
use crate::transport::Transport;

/// Size of one read. The buffer is on the stack during the read, so that an idle connection owns no
/// buffer.
const READ_SIZE: usize = 16 * 1024;

/// Number of bytes of waiting output at which the connection of a session stops reading packets,
/// and stops adding replies unless it is closing the session.
const MAX_OUTPUT: usize = 64 * 1024;

/// Failure or end of a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the stream failed")]
    Io(#[from] io::Error),
    #[error("the peer violated the SC1 protocol")]
    Sc1(#[from] OpenError),
    #[error("the stream ended within a packet or without a close record")]
    Truncated,
    #[error("the peer closed the connection")]
    Closed,
    #[error("a packet exceeds the size limit")]
    TooLarge,
    #[error("the SC1 channel has reached its maximum number of records")]
    Exhausted,
}

/// Protection of the bytes on a stream: SC1, or the protection of the stream itself (TLS or none).
#[derive(Debug)]
pub(super) enum Protection {
    Sc1(Box<(Sealer, Opener)>),
    Stream,
}

/// A stream, its protection and its buffers.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Box<dyn Transport>,
    protection: Protection,
    /// Input that was read and not yet decrypted; empty without SC1.
    sealed: BytesMut,
    frames: FrameDecoder,
    /// Output that was not yet written. With SC1, it is encrypted.
    output: BytesMut,
    /// True if a part of the output was written, so that the allocation of the buffer is larger
    /// than its reported capacity.
    is_partly_written: bool,
    /// Number of bytes written so far, without those of the handshake.
    written: u64,
    /// True if the stream has flushed all bytes that it accepted. Streams such as TLS and
    /// WebSockets buffer them.
    is_flushed: bool,
    /// True once the peer has proved, with its first record, that it has the keys of the channel;
    /// before that, nothing is sent. Without SC1, true from the start.
    is_peer_proven: bool,
    /// True once all output was written, and the shutdown of the stream has started.
    is_shut: bool,
}

impl Wire {
    /// Creates the wire of a stream whose handshake has completed. Packets may have at most `limit`
    /// bytes, until [`set_limit`](Self::set_limit) changes the limit. Packets are wiped until
    /// [`stop_wiping`](Self::stop_wiping), because those before login hold passwords and tokens.
    pub(super) fn new(stream: Box<dyn Transport>, protection: Protection, limit: usize) -> Self {
        let mut frames = FrameDecoder::new(limit);
        frames.set_wiping(true);
        Self {
            stream,
            sealed: BytesMut::new(),
            frames,
            output: BytesMut::new(),
            is_partly_written: false,
            written: 0,
            is_flushed: true,
            is_peer_proven: matches!(protection, Protection::Stream),
            is_shut: false,
            protection,
        }
    }

    /// Returns whether output may be sent to the peer.
    pub(super) const fn may_send(&self) -> bool {
        self.is_peer_proven
    }

    /// Stops wiping packets, because the peer has logged in.
    pub(super) fn stop_wiping(&mut self) {
        self.frames.set_wiping(false);
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.frames.set_limit(limit);
    }

    /// Returns the next packet that has arrived completely, or `None` if more input has to be read.
    /// With SC1, decrypts the input that was read; its first record permits
    /// [sending](Self::may_send). Empty buffers are released before `None` is returned.
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
                    self.is_peer_proven = true;
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

    /// Reads once, at most [`READ_SIZE`] bytes of input. The end of the stream is an error.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        let mut stack = [MaybeUninit::<u8>::uninit(); READ_SIZE];
        let mut read = ReadBuf::uninit(&mut stack);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Err(self.ended())),
            Poll::Ready(Ok(())) => {
                match &self.protection {
                    Protection::Sc1(_) => self.sealed.extend_from_slice(read.filled()),
                    Protection::Stream => {
                        self.frames.append(read.filled());
                        if self.frames.is_wiping() {
                            read.filled_mut().zeroize();
                        }
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Returns the error that the end of the stream means.
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

    /// Adds these frames to the output. With SC1, encrypts them, in one record if they fit. On
    /// success, empties `frames`.
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
                    .map_err(|_| WireError::Exhausted)?;
            }
            Protection::Stream => frames.iter().for_each(|frame| self.output.extend_from_slice(frame)),
        }
        frames.clear();
        Ok(())
    }

    /// Adds the record that closes the SC1 channel to the output. Has no effect without SC1.
    pub(super) fn send_close(&mut self, code: CloseCode) {
        if let Protection::Sc1(channel) = &mut self.protection {
            // A channel that has reached its limits cannot send the record. Then the peer only sees
            // the end of the stream.
            let _ = channel.0.seal_close(code.number(), &mut self.output);
        }
    }

    /// Returns whether output waits to be written or flushed.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty() || !self.is_flushed
    }

    /// Returns whether the output buffer has reached its limit, so that no further reply should be
    /// added.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() >= MAX_OUTPUT
    }

    /// Returns the number of bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Returns the number of bytes written so far, without those of the handshake.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Returns the number of bytes added to the output since the handshake, written ones included.
    pub(super) fn bytes_added(&self) -> u64 {
        self.written.saturating_add(to_u64(self.output.len()))
    }

    /// Writes as much as the stream accepts. Ready once all output is written and flushed.
    ///
    /// A stream that buffers accepts bytes even while its peer reads nothing. So accepted bytes are
    /// flushed before more are written: only then does [`written`](Self::written) measure what the
    /// peer reads.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.is_flushed {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.is_flushed = true;
            }
            if self.output.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_flushed = false;
            self.written = self.written.saturating_add(to_u64(written));
            if written < self.output.len() {
                self.output.advance(written);
                self.is_partly_written = true;
            } else {
                self.release_output();
            }
        }
    }

    /// Releases the output buffer after all of it was written.
    fn release_output(&mut self) {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        // Another connection gets the buffer only if the whole size of its allocation is known, and
        // if no plaintext is left in it: SC1 encrypts in place, but without SC1 plaintext is left.
        if !std::mem::take(&mut self.is_partly_written) && matches!(self.protection, Protection::Sc1(_)) {
            spare::give_back(output);
        }
    }

    /// Writes the remaining output, ends the stream, and waits until the peer has ended it too.
    /// Closing a socket with unread input would discard output that the peer has not read yet. The
    /// end of the peer's stream is an error; `Ok` means that the peer has sent at least
    /// [`MAX_DISCARDED`] bytes without ending it.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            if !self.is_shut {
                ready!(self.poll_flush(cx))?;
                self.is_shut = true;
            }
            Pin::new(&mut self.stream).poll_shutdown(cx)
        })
        .await?;
        self.sealed = BytesMut::new();
        let mut allowance = MAX_DISCARDED;
        while allowance > 0 {
            allowance = allowance.saturating_sub(poll_fn(|cx| self.poll_discard(cx)).await?);
        }
        Ok(())
    }

    /// Reads input once, discards it, and returns its size in bytes. The end of the stream is an
    /// error.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stack = [MaybeUninit::<u8>::uninit(); READ_SIZE];
        let mut read = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        match read.filled().len() {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            discarded => Poll::Ready(Ok(discarded)),
        }
    }
}

/// Number of bytes from a peer that still sends while the connection closes, after which the
/// connection no longer waits for the end of the peer's stream.
const MAX_DISCARDED: usize = 256 * 1024;

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Output buffer that the SC1 connections of a thread share. Most connections write their output at
/// once, so one buffer serves all of them and stays in the processor's cache. A connection that
/// waits for its peer keeps the buffer, and the next connection allocates another. A buffer
/// that is given back contains encrypted records only.
mod spare {
    use std::cell::Cell;

    use bytes::BytesMut;

    /// Capacities of the buffers that are kept for the next connection.
    const KEPT: std::ops::RangeInclusive<usize> = 4 * 1024..=2 * super::MAX_OUTPUT;

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
        fn spare_buffer_of_medium_size_is_kept() {
            for (size, kept) in [(64, 0), (1024 * 1024, 0), (48 * 1024, 48 * 1024)] {
                give_back(BytesMut::with_capacity(size));
                assert_eq!(take().capacity(), kept);
            }
            assert_eq!(take().capacity(), 0, "each buffer is taken only once");
        }
    }
}
