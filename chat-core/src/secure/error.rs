//! Errors of the secure channel, with one variant for each cause.
//!
//! Each of them ends the connection, and the peer is not told why; only
//! [`HandshakeError::NoCommonProfile`] is answered with a reject first. The variants are for logs
//! and tests.

use super::fingerprint::Fingerprint;

/// Error of a handshake. Close the connection, and do not use any data of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The length field of the first message is out of range.
    #[error("handshake message announces {0} bytes, which is out of range")]
    LengthOutOfRange(u16),
    /// The peer does not speak this protocol.
    #[error("not an SC1 hello")]
    BadMagic,
    /// The hello does not offer 1 to 8 profiles.
    #[error("hello offers {0} profiles")]
    ProfileCount(u8),
    /// The server supports no profile that the client offers. Answer with
    /// [`HandshakeError::reject`] and close.
    #[error("no common profile")]
    NoCommonProfile,
    /// The server name is longer than 64 bytes.
    #[error("server name of {0} bytes")]
    NameTooLong(usize),
    /// The server name is not UTF-8.
    #[error("server name is not UTF-8")]
    NameNotUtf8,
    /// The fields of the message do not add up to its length.
    #[error("fields do not add up to the message's length")]
    LengthMismatch,
    /// Bytes follow the message although its sender has to wait for an answer.
    #[error("unexpected bytes after the handshake message")]
    UnexpectedData,
    /// The key agreement yielded the all-zero secret: the peer sent a point of low order.
    #[error("key agreement without contribution of the peer")]
    WeakPublicKey,
    /// A reject message has the wrong length.
    #[error("malformed reject")]
    MalformedReject,
    /// The server chose a profile that was not offered.
    #[error("server chose profile {0:#06x}, which was not offered")]
    ProfileNotOffered(u16),
    /// The server's message does not authenticate: it was changed in transit, or belongs to another
    /// hello.
    #[error("server hello does not authenticate")]
    BadTag,
    /// The credential has another version.
    #[error("credential of version {0}")]
    CredentialVersion(u8),
    /// The credential is truncated, has surplus bytes, or has a field with an impossible value.
    #[error("malformed credential")]
    MalformedCredential,
    /// The server's key is not an RSA key in SubjectPublicKeyInfo form.
    #[error("server key is not a well-formed RSA key")]
    MalformedKey,
    /// The server's RSA modulus does not have 2048 to 4096 bits.
    #[error("server key of {0} bits, allowed are 2048 to 4096")]
    KeySize(usize),
    /// The server's RSA exponent is not 65537.
    #[error("server key has an exponent other than 65537")]
    KeyExponent,
    /// The server's key is not a pinned one.
    #[error("server key {presented} is not the pinned key")]
    PinMismatch {
        /// Fingerprint of the key that the server presented.
        presented: Fingerprint,
    },
    /// The RSA signature over the server's static key is wrong.
    #[error("credential signature is wrong")]
    BadSignature,
    /// The credential is not valid yet, by more than the allowed clock difference.
    #[error("credential is valid from {not_before}, it is {now} (unix seconds)")]
    NotYetValid {
        /// Start of validity, unix seconds.
        not_before: u64,
        /// The client's time, unix seconds.
        now: u64,
    },
    /// The credential has expired, by more than the allowed clock difference.
    #[error("credential was valid until {not_after}, it is {now} (unix seconds)")]
    Expired {
        /// End of validity, unix seconds.
        not_after: u64,
        /// The client's time, unix seconds.
        now: u64,
    },
    /// The profile in the credential differs from the unencrypted one: an attacker changed the
    /// choice.
    #[error("credential is for profile {0:#06x}")]
    ProfileEcho(u16),
    /// The stream ended inside the handshake.
    #[error("stream ended during the handshake")]
    Truncated,
    /// The handshake is over, with or without success, and was fed again.
    #[error("handshake is already over")]
    Over,
}

/// Error of the sending half of a channel, which can send no further record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A close record was already written.
    #[error("channel is closed for sending")]
    Closed,
    /// The record counter reached its end.
    #[error("record counter exhausted")]
    Exhausted,
}

/// Error of the receiving half of a channel, which opens no further record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The record is shorter than a type and a tag.
    #[error("record of {0} bytes is too short")]
    TooShort(u16),
    /// The record is longer than one with 16 KiB of content.
    #[error("record of {0} bytes is too long")]
    TooLong(u16),
    /// The record was forged, changed or repeated, or an earlier record was dropped or reordered.
    #[error("record does not authenticate")]
    BadTag,
    /// The record has a type that this profile does not have.
    #[error("record of unknown type {0}")]
    UnknownType(u8),
    /// A REKEY record has content.
    #[error("malformed rekey record")]
    MalformedRekey,
    /// The content of a CLOSE record is not a 16-bit code.
    #[error("malformed close record")]
    MalformedClose,
    /// The peer changed keys again within 1024 records and 10 s.
    #[error("peer changes keys too often")]
    RekeyTooSoon,
    /// The peer sent 2^24 records under one key.
    #[error("peer does not change keys")]
    RekeyOverdue,
    /// The record counter reached its end.
    #[error("record counter exhausted")]
    Exhausted,
    /// Bytes followed a CLOSE record.
    #[error("data after close")]
    DataAfterClose,
    /// The stream ended without a CLOSE record: data may be missing.
    #[error("stream was cut off")]
    Truncated,
    /// An earlier error ended the receiving half.
    #[error("channel failed before")]
    Dead,
}

/// Error of generating, reading, writing or using an identity key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The RSA key does not have 2048 to 4096 bits.
    #[error("RSA key of {0} bits, allowed are 2048 to 4096")]
    KeySize(usize),
    /// The RSA key has an exponent other than 65537.
    #[error("RSA key with an exponent other than 65537")]
    KeyExponent,
    /// The text is not a PKCS#8 RSA private key in PEM.
    #[error("not an RSA private key in PKCS#8 PEM")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Users other than the owner can access the key file.
    #[error("key file {path} is accessible by others (mode {mode:03o}); set its mode to 600")]
    Permissions {
        /// Path of the file.
        path: String,
        /// Permission bits of the file.
        mode: u32,
    },
    /// The key file cannot be read or written.
    #[error("cannot access the key file {path}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// Generating a key or a signature failed.
    #[error("RSA operation failed")]
    Rsa(#[source] Box<dyn std::error::Error + Send + Sync>),
}
