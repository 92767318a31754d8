//! Self-signed certificate of an identity key.
//!
//! Clients trust it by its key alone: no client checks its name, and its validity has no end (RFC
//! 5280). This module encodes it, so that servers need no crate that makes certificates. The bytes
//! are the same at every start, since RSASSA-PKCS1-v1_5 signatures contain no randomness.

use crate::secure::{IdentityError, ServerIdentity};

// Tags of DER elements.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, the tag of the version.
const VERSION: u8 = 0xa0;
/// `[3] EXPLICIT`, the tag of the extensions.
const EXTENSIONS: u8 = 0xa3;

// Complete DER elements: a boolean, object identifiers, and a bit string.
const BOOLEAN_TRUE: &[u8] = &[0x01, 0x01, 0xff];
/// `sha256WithRSAEncryption` with its NULL parameters.
const SHA256_WITH_RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// Bit string in which only the bit `digitalSignature` is set.
const DIGITAL_SIGNATURE: &[u8] = &[BIT_STRING, 0x02, 0x07, 0x80];

/// Returns the DER certificate of `identity`: X.509 version 3, with subject and issuer
/// `CN=chat-server`. Costs one RSA signature.
pub(super) fn self_signed(identity: &ServerIdentity) -> Result<Vec<u8>, IdentityError> {
    let to_be_signed = tbs_certificate(identity);
    let signature = identity.sign_certificate(&to_be_signed)?;
    Ok(der(
        SEQUENCE,
        &[
            &to_be_signed,
            &der(SEQUENCE, &[SHA256_WITH_RSA]),
            &der(BIT_STRING, &[&[0], &signature]),
        ],
    ))
}

/// Returns the `TBSCertificate`, the part of the certificate that the signature covers.
fn tbs_certificate(identity: &ServerIdentity) -> Vec<u8> {
    let common_name = der(SEQUENCE, &[COMMON_NAME, &der(UTF8_STRING, &[b"chat-server"])]);
    let name = der(SEQUENCE, &[&der(SET, &[&common_name])]);
    der(
        SEQUENCE,
        &[
            &der(VERSION, &[&der(INTEGER, &[&[2]])]),
            &der(INTEGER, &[&serial(identity)]),
            &der(SEQUENCE, &[SHA256_WITH_RSA]),
            &name,
            &validity(),
            &name,
            identity.spki(),
            &der(EXTENSIONS, &[&extensions()]),
        ],
    )
}

/// Returns the serial number: the first 16 bytes of the key's fingerprint. Its two highest bits are
/// set to 01, so that the number is positive and in its shortest DER form.
fn serial(identity: &ServerIdentity) -> [u8; 16] {
    let mut serial = [0; 16];
    serial.copy_from_slice(&identity.fingerprint().as_bytes()[..16]);
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

/// Returns a validity from 2020 without end (RFC 5280 §4.1.2.5).
fn validity() -> Vec<u8> {
    der(
        SEQUENCE,
        &[
            &der(UTC_TIME, &[b"200101000000Z"]),
            &der(GENERALIZED_TIME, &[b"99991231235959Z"]),
        ],
    )
}

fn extensions() -> Vec<u8> {
    let not_an_authority = der(SEQUENCE, &[]);
    let server_auth = der(SEQUENCE, &[SERVER_AUTH]);
    let extension =
        |id: &[u8], critical: &[u8], value: &[u8]| der(SEQUENCE, &[id, critical, &der(OCTET_STRING, &[value])]);
    der(
        SEQUENCE,
        &[
            &extension(BASIC_CONSTRAINTS, BOOLEAN_TRUE, &not_an_authority),
            &extension(KEY_USAGE, BOOLEAN_TRUE, DIGITAL_SIGNATURE),
            &extension(EXTENDED_KEY_USAGE, &[], &server_auth),
        ],
    )
}

/// Encodes one DER element: tag, length, and the concatenated parts.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 5);
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | significant.len() as u8);
        out.extend_from_slice(significant);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}
