//! What a state machine has to say: replies gathered into one buffer, and how it ends.

use bytes::{Bytes, BytesMut};

use crate::codec::{Answer, Failure, RequestId, server};
use crate::model::{CloseCode, Push, ReplyCode};

/// Bytes of replies not yet taken beyond which no more is read from the peer.
const FULL: usize = 64 * 1024;

/// Replies and the end, in order.
#[derive(Debug, Default)]
pub(super) struct Output {
    replies: BytesMut,
    end: End,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// Still to be told to the driver.
    Closing(CloseCode),
    Closed,
}

impl Output {
    /// Replies, if one is wanted.
    pub(super) fn reply(&mut self, id: RequestId, result: &Result<Answer, Failure>) {
        if id.wants_reply() && self.is_open() {
            server::encode_reply(id, result, &mut self.replies);
        }
    }

    pub(super) fn fail(&mut self, id: RequestId, code: ReplyCode, text: &str) {
        self.reply(id, &Err(Failure::new(code, text)));
    }

    pub(super) fn push(&mut self, push: &Push) {
        if self.is_open() {
            self.replies.extend_from_slice(&server::encode_push(push));
        }
    }

    /// Tells the peer why, and ends. Only the first reason counts.
    pub(super) fn close(&mut self, code: CloseCode) {
        self.push(&Push::Closed(code));
        if self.is_open() {
            self.end = End::Closing(code);
        }
    }

    /// The peer broke the protocol with this request.
    pub(super) fn violation(&mut self, id: RequestId, text: &str) {
        self.fail(id, ReplyCode::BadRequest, text);
        self.close(CloseCode::ProtocolError);
    }

    /// Whether it has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.end == End::Open
    }

    pub(super) fn has_room(&self) -> bool {
        self.is_open() && self.replies.len() < FULL
    }

    /// Whole frames to send.
    pub(super) fn take_frames(&mut self) -> Option<Bytes> {
        (!self.replies.is_empty()).then(|| std::mem::take(&mut self.replies).freeze())
    }

    /// The end, once.
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
