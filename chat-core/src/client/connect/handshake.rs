//! Errors of handshakes that failed or were declined.

use std::time::Duration;

use crate::client::ClientError;
use crate::client::address::Endpoint;
use crate::client::connect::ConnectError;
use crate::secure::{Fingerprint, HandshakeError, RejectCode};

/// Returns the error for a server that declined the handshake.
pub(super) fn declined(endpoint: &Endpoint, code: RejectCode, retry_after: Duration) -> ConnectError {
    let problem = match code {
        RejectCode::NoProfile => {
            "the server declined: it supports none of the encryption profiles of this client; one of the two is too old"
                .to_owned()
        }
        RejectCode::Busy => "the server declined: it is busy".to_owned(),
        RejectCode::ShuttingDown => "the server declined: it is shutting down".to_owned(),
        RejectCode::Other(code) => format!("the server declined with code {code}"),
    };
    let mut error = match retry_after.as_millis().div_ceil(1000) {
        0 => ConnectError::temporary(endpoint, problem),
        seconds => ConnectError::temporary(endpoint, format_args!("{problem}; try again in {seconds} s")),
    };
    error.retry_after = Some(retry_after);
    error
}

/// First two bytes of the record by which a TLS server refuses data that is not TLS, read as the
/// length of an SC1 message.
const TLS_ALERT: u16 = 0x1503;

/// Returns the error for a failed handshake. A wrong key is final: the client must not connect to
/// that server again. If the port answers in TLS on first contact, the error says so. It does not
/// suggest `tls://`, because no key is pinned by which the TLS port could prove that it belongs to
/// the server. For a pinned server, [`scheme_probe`](crate::client::scheme_probe) asks the port for
/// that proof.
pub(super) fn handshake_failed(endpoint: &Endpoint, error: HandshakeError, is_first_contact: bool) -> ConnectError {
    match error {
        HandshakeError::PinMismatch { presented } => wrong_key(endpoint, presented),
        HandshakeError::LengthOutOfRange(TLS_ALERT) if is_first_contact => {
            let text =
                "the port answers in TLS, not in SC1; check the address that the operator of the server gave you";
            ConnectError::temporary(endpoint, text)
        }
        error => ConnectError::temporary(endpoint, error),
    }
}

pub(super) fn wrong_key(endpoint: &Endpoint, presented: Fingerprint) -> ConnectError {
    ConnectError::permanent(ClientError::WrongKey {
        host: endpoint.address.host_and_port(),
        presented,
    })
}
