//! One connection to a server: bytes, SC1 records and packets in both directions.
//!
//! Only SC1 encrypts here. In the other schemes, packets are written to the stream as they are; the
//! stream of `tls://` encrypts them itself.

use std::{io, time::Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use zeroize::Zeroize as _;

use crate::codec::{Incoming, Request, client as codec, frame};
use crate::model::CloseCode;
use crate::secure::{Channel, MAX_CONTENT, Opened, Opener, Sealer};
use crate::transport::Transport;

use super::ClientError;

/// Number of bytes reserved for each read from the stream.
const READ_SIZE: usize = 16 * 1024;

/// Receiving half of a connection.
#[derive(Debug)]
pub(super) struct Reader {
    stream: ReadHalf<Box<dyn Transport>>,
    /// Decrypts SC1 records; `None` in the other schemes.
    opener: Option<Opener>,
    /// Bytes that were read and are not decrypted or decoded yet.
    raw: BytesMut,
    frames: frame::FrameDecoder,
}

/// Sending half of a connection.
#[derive(Debug)]
pub(super) struct Writer {
    stream: WriteHalf<Box<dyn Transport>>,
    /// Encrypts SC1 records; `None` in the other schemes.
    sealer: Option<Sealer>,
    /// Encoded requests that are not sealed yet.
    plain: BytesMut,
    /// Bytes ready to write: SC1 records, or the encoded requests in the other schemes.
    wire: BytesMut,
    /// False from a write to the end of the next flush.
    is_flushed: bool,
}

/// Splits a stream into a receiving and a sending half. `channel` contains the keys of SC1; it is
/// `None` in the other schemes.
pub(super) fn split(stream: Box<dyn Transport>, channel: Option<Channel>) -> (Reader, Writer) {
    let (reader, writer) = tokio::io::split(stream);
    let (sealer, opener) = channel.map(Channel::split).unzip();
    let reader = Reader {
        stream: reader,
        opener,
        raw: BytesMut::new(),
        frames: frame::FrameDecoder::new(frame::MAX_SERVER_PACKET_BYTES),
    };
    let writer = Writer {
        stream: writer,
        sealer,
        plain: BytesMut::new(),
        wire: BytesMut::new(),
        is_flushed: true,
    };
    (reader, writer)
}

impl Reader {
    /// Reads bytes from the stream. Afterwards, call [`next`](Self::next) until it returns `None`.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn read(&mut self) -> Result<(), ClientError> {
        self.raw.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.raw).await {
            Ok(0) => Err(self.ended()),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Returns the next packet, or `None` if no complete packet was read.
    ///
    /// # Errors
    /// [`ClientError::Ended`]: the server closed the connection with a close record.
    /// [`ClientError::Protocol`]: the bytes are not a valid record or packet.
    pub(super) fn next(&mut self, now: Instant) -> Result<Option<Incoming>, ClientError> {
        loop {
            if let Some(packet) = self.frames.next_packet().map_err(protocol)? {
                return codec::decode(packet).map(Some).map_err(protocol);
            }
            if !self.open(now)? {
                return Ok(None);
            }
        }
    }

    /// Passes the content of the next SC1 record to the packet decoder; in the other schemes, all
    /// bytes that were read. Returns `false` if there is no complete record, or no byte.
    fn open(&mut self, now: Instant) -> Result<bool, ClientError> {
        let Some(opener) = &mut self.opener else {
            let has_bytes = !self.raw.is_empty();
            if has_bytes {
                self.frames.feed(self.raw.split());
            }
            return Ok(has_bytes);
        };
        match opener.feed(now, &mut self.raw).map_err(protocol)? {
            Opened::Data(data) => {
                self.frames.feed(data);
                Ok(true)
            }
            Opened::Close(code) => {
                let code = CloseCode::from_number(code).unwrap_or(CloseCode::GoingAway);
                Err(ClientError::Ended(code))
            }
            Opened::NeedMore => Ok(false),
        }
    }

    /// Returns the error of a stream that ended. Over SC1, a stream without a close record counts
    /// as cut off; in the other schemes, every end counts as closed by the server.
    fn ended(&mut self) -> ClientError {
        let cut_off = self
            .opener
            .as_mut()
            .is_some_and(|opener| opener.end_of_stream(&self.raw).is_err());
        let problem = if cut_off {
            "the connection was cut off"
        } else {
            "the server closed the connection"
        };
        ClientError::Unreachable(problem.to_owned())
    }
}

impl Writer {
    /// Encodes a request. [`seal`](Self::seal) then makes it ready to write.
    pub(super) fn put(&mut self, request: &Request) {
        codec::encode_request(request, &mut self.plain);
    }

    /// Makes all encoded requests ready to write. Over SC1, encrypts them in as few records as
    /// possible.
    pub(super) fn seal(&mut self, now: Instant) -> Result<(), ClientError> {
        let Some(sealer) = &mut self.sealer else {
            self.wire.unsplit(self.plain.split());
            return Ok(());
        };
        for content in self.plain.chunks(MAX_CONTENT) {
            sealer.seal(now, content, &mut self.wire).map_err(protocol)?;
        }
        // A request may contain a password.
        self.plain.zeroize();
        self.plain.clear();
        Ok(())
    }

    /// Returns whether [sealed](Self::seal) bytes wait to be written or flushed.
    pub(super) fn is_pending(&self) -> bool {
        self.wire.has_remaining() || !self.is_flushed
    }

    /// Writes some of the sealed bytes. Flushes the stream after the last of them.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn write(&mut self) -> Result<(), ClientError> {
        if self.wire.has_remaining() {
            match self.stream.write_buf(&mut self.wire).await {
                Ok(0) => return Err(broken(&io::ErrorKind::WriteZero.into())),
                Ok(_) => self.is_flushed = false,
                Err(error) => return Err(broken(&error)),
            }
        }
        if !self.wire.has_remaining() {
            self.stream.flush().await.map_err(|error| broken(&error))?;
            self.is_flushed = true;
        }
        Ok(())
    }

    /// Writes all remaining bytes and, over SC1, a close record. Then shuts the stream down.
    pub(super) async fn close(mut self, now: Instant) -> Result<(), ClientError> {
        self.seal(now)?;
        if let Some(sealer) = &mut self.sealer {
            sealer
                .seal_close(CloseCode::Normal.number(), &mut self.wire)
                .map_err(protocol)?;
        }
        while self.is_pending() {
            self.write().await?;
        }
        self.stream.shutdown().await.map_err(|error| broken(&error))
    }
}

fn broken(error: &io::Error) -> ClientError {
    ClientError::Unreachable(format!("the connection broke: {error}"))
}

fn protocol(error: impl std::error::Error) -> ClientError {
    ClientError::Protocol(error.to_string())
}
