//! Output of a state machine: replies and pushes gathered into one buffer, and the end of the
//! connection.

use bytes::{Bytes, BytesMut};

use crate::codec::{Answer, Failure, RequestId, server};
use crate::model::{CloseCode, Push, ReplyCode};

/// Number of bytes of gathered frames at which no further packet is read from the peer.
const MAX_BUFFERED: usize = 64 * 1024;

/// Text of the reply to a second hello.
pub(super) const SECOND_HELLO: &str = "hello was already sent on this connection";

/// Encoded replies and pushes, followed by the close code if the connection ends.
#[derive(Debug, Default)]
pub(super) struct Output {
    frames: BytesMut,
    end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// The driver has not taken the close code yet.
    Closing(CloseCode),
    Closed,
}

impl Output {
    /// Adds a reply, unless the request wants none or the connection has ended.
    pub(super) fn reply(&mut self, id: RequestId, result: &Result<Answer, Failure>) {
        if id.wants_reply() && self.is_open() {
            server::encode_reply(id, result, &mut self.frames);
        }
    }

    /// Adds a reply with an error, unless the request wants none or the connection has ended.
    pub(super) fn fail(&mut self, id: RequestId, code: ReplyCode, text: &str) {
        self.reply(id, &Err(Failure::new(code, text)));
    }

    pub(super) fn push(&mut self, push: &Push) {
        if self.is_open() {
            self.frames.extend_from_slice(&server::encode_push(push));
        }
    }

    /// Adds the push that tells the peer the close code, and ends the connection. Only the first
    /// call has an effect.
    pub(super) fn close(&mut self, code: CloseCode) {
        self.push(&Push::Closed(code));
        if self.is_open() {
            self.end = End::Closing(code);
        }
    }

    /// Rejects a request that violates the protocol, and ends the connection.
    pub(super) fn reject_violation(&mut self, id: RequestId, text: &str) {
        self.fail(id, ReplyCode::BadRequest, text);
        self.close(CloseCode::ProtocolError);
    }

    /// Returns whether the connection has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    /// Returns whether a further packet may be read from the peer.
    pub(super) fn has_room(&self) -> bool {
        self.is_open() && self.frames.len() < MAX_BUFFERED
    }

    /// Takes the gathered frames, if there are any.
    pub(super) fn take_frames(&mut self) -> Option<Bytes> {
        (!self.frames.is_empty()).then(|| std::mem::take(&mut self.frames).freeze())
    }

    /// Takes the close code; returns `None` if the connection is open, or the code was taken
    /// before.
    pub(super) fn take_close(&mut self) -> Option<CloseCode> {
        match self.end {
            End::Closing(code) => {
                self.end = End::Closed;
                Some(code)
            }
            End::Open | End::Closed => None,
        }
    }
}
