//! Errors of decoding the bytes of a peer or a store.

use crate::model::ReplyCode;

use super::{Failure, RequestId};

/// Error of splitting bytes into packets. A server then closes the connection with
/// [`CloseCode::PacketTooLarge`](crate::model::CloseCode::PacketTooLarge).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length of a packet exceeds the limit.
    #[error("packet of {length} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Length that the packet announces.
        length: usize,
        /// Largest length that is allowed now.
        limit: usize,
    },
}

/// Error of decoding a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet violates the protocol: close the connection.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The packet is a request that has an invalid argument, or that this version does not know:
    /// send the failure as a reply if the request wants one, and continue. Close the connection
    /// instead of continuing if this is its first packet, or a second hello.
    #[error("request {request_id} is invalid: {failure}")]
    Invalid {
        /// Id of the request; 0 if it wants no reply.
        request_id: RequestId,
        /// True if the request is a hello.
        is_hello: bool,
        /// Failure to reply with.
        failure: Failure,
    },
}

/// Error of a packet that violates the protocol. The error text contains nothing of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The packet is not a protobuf encoding of the expected message, or has invalid UTF-8.
    #[error("the packet is not a valid message of the protocol")]
    NotProtobuf,
    /// The request needs an id and has none.
    #[error("the request needs a request_id other than 0")]
    NoRequestId,
    /// A required field is missing, or has a value that is out of range.
    #[error("{0} is missing or out of range")]
    Field(&'static str),
}

impl From<prost::DecodeError> for Malformed {
    fn from(_: prost::DecodeError) -> Self {
        Self::NotProtobuf
    }
}

/// Error of stored bytes that are not a body of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not the body of a {kind:?} event")]
pub struct BodyError {
    pub(super) kind: crate::model::EventKind,
}

/// Error in the arguments of a well-formed request, without the request's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidRequest {
    pub(super) code: ReplyCode,
    pub(super) text: String,
}

impl InvalidRequest {
    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self {
            code: ReplyCode::InvalidArgument,
            text: text.into(),
        }
    }
}

impl From<crate::model::NameError> for InvalidRequest {
    fn from(error: crate::model::NameError) -> Self {
        Self {
            code: ReplyCode::InvalidName,
            text: error.to_string(),
        }
    }
}

impl From<crate::model::TextError> for InvalidRequest {
    fn from(error: crate::model::TextError) -> Self {
        Self {
            code: ReplyCode::InvalidText,
            text: error.to_string(),
        }
    }
}

impl From<InvalidRequest> for Failure {
    fn from(invalid: InvalidRequest) -> Self {
        Self::new(invalid.code, invalid.text)
    }
}
