//! What can be wrong with what a peer, or a store, hands us.

use crate::model::ReplyCode;

use super::{Failure, RequestId};

/// Bytes that cannot be cut into packets. The connection is closed with `PacketTooLarge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A packet claims to be larger than allowed now.
    #[error("a packet of {length} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Claimed.
        length: usize,
        /// Allowed.
        limit: usize,
    },
}

/// Why a packet is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It does not follow the protocol: close.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is a request, of which something is not acceptable: reply so, and go on.
    #[error("request {request_id} is refused: {failure}")]
    Refused {
        /// Which; 0: it wants no reply.
        request_id: RequestId,
        /// Why.
        failure: Failure,
    },
}

/// A packet that does not follow the protocol. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// No protobuf of the message expected, broken UTF-8 included.
    #[error("the packet is not a valid message of the protocol")]
    NotProtobuf,
    /// A request without an id that needs one.
    #[error("the request needs a request_id other than 0")]
    NoRequestId,
    /// A field that has to be there is missing, or has a value it cannot have.
    #[error("{0} is missing or out of range")]
    Field(&'static str),
}

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Self {
        Self::NotProtobuf
    }
}

/// Stored bytes that are no body of the kind they should be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no body of a {kind:?} event")]
pub struct BodyError {
    pub(super) kind: crate::model::EventKind,
}

/// Why a well-formed request is not acceptable, before it is known which request it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ReplyCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self {
            code: ReplyCode::InvalidArgument,
            text: text.into(),
        }
    }
}

impl From<crate::model::NameError> for Refusal {
    fn from(error: crate::model::NameError) -> Self {
        Self {
            code: ReplyCode::InvalidName,
            text: error.to_string(),
        }
    }
}

impl From<crate::model::TextError> for Refusal {
    fn from(error: crate::model::TextError) -> Self {
        Self {
            code: ReplyCode::InvalidText,
            text: error.to_string(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.text)
    }
}
