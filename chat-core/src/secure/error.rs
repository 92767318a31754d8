//! What can go wrong in the secure channel, one variant per cause.
//!
//! Every one of these ends the connection without a word to the peer (a [`HandshakeError::NoCommonProfile`] is answered
//! with a reject first); the variants exist for the one log line and for tests.

use super::fingerprint::Fingerprint;

/// Why a handshake failed. The connection must be closed; nothing of it may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The length field of the first message is outside what the message may have.
    #[error("handshake message announces {0} bytes")]
    LengthOutOfRange(u16),
    /// The peer does not speak this protocol.
    #[error("not an SC1 hello")]
    BadMagic,
    /// A hello must offer 1 to 8 profiles.
    #[error("hello offers {0} profiles")]
    ProfileCount(u8),
    /// Nothing the client offers is known here; answer with [`HandshakeError::reject`] and close.
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
    /// The key agreement gave the all-zero secret: the peer sent a point of low order.
    #[error("key agreement without contribution of the peer")]
    WeakPublicKey,
    /// A reject message has the wrong length.
    #[error("malformed reject")]
    MalformedReject,
    /// The server chose a profile that was not offered.
    #[error("server chose profile {0:#06x}, which was not offered")]
    ProfileNotOffered(u16),
    /// Authentication of the server's message failed: changed on the way, or made for another hello.
    #[error("server hello does not authenticate")]
    BadTag,
    /// The credential has another version.
    #[error("credential of version {0}")]
    CredentialVersion(u8),
    /// The credential is cut short, has bytes left over, or an impossible field.
    #[error("malformed credential")]
    MalformedCredential,
    /// The server's key is not an RSA key in SubjectPublicKeyInfo form.
    #[error("server key is not a well-formed RSA key")]
    MalformedKey,
    /// The server's RSA modulus is not of 2048 to 4096 bits.
    #[error("server key of {0} bits")]
    KeySize(usize),
    /// The server's RSA exponent is not 65537.
    #[error("server key has an exponent other than 65537")]
    KeyExponent,
    /// The server's key is not the expected one.
    #[error("server key {presented} is not the pinned one")]
    PinMismatch {
        /// The key the server showed.
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
    /// The credential repeats another profile than the one in clear: somebody steered the choice.
    #[error("credential is for profile {0:#06x}")]
    ProfileEcho(u16),
    /// The stream ended inside the handshake.
    #[error("stream ended during the handshake")]
    Truncated,
    /// The handshake is over, well or badly, and was fed again.
    #[error("handshake is already over")]
    Over,
}

/// Why nothing more can be sent on a channel.
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

/// Why the receiving half of a channel ended. It never opens another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A record shorter than a type and a tag.
    #[error("record of {0} bytes is too short")]
    TooShort(u16),
    /// A record longer than 16 KiB of content can make it.
    #[error("record of {0} bytes is too long")]
    TooLong(u16),
    /// Forged, changed, repeated, dropped or reordered.
    #[error("record does not authenticate")]
    BadTag,
    /// A record type this profile does not have.
    #[error("record of unknown type {0}")]
    UnknownType(u8),
    /// A REKEY record with content.
    #[error("malformed rekey record")]
    MalformedRekey,
    /// A CLOSE record whose content is not a 16-bit code.
    #[error("malformed close record")]
    MalformedClose,
    /// REKEY again before 1,024 records and before 10 s.
    #[error("peer changes keys too often")]
    RekeyTooSoon,
    /// 2^24 records under one key.
    #[error("peer does not change keys")]
    RekeyOverdue,
    /// The record counter reached its end.
    #[error("record counter exhausted")]
    Exhausted,
    /// Bytes after a CLOSE record.
    #[error("data after close")]
    DataAfterClose,
    /// The stream ended without a CLOSE record: something may be missing.
    #[error("stream was cut off")]
    Truncated,
    /// An earlier error ended this half.
    #[error("channel failed before")]
    Dead,
}

/// Why an identity key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Only RSA keys of 2048 to 4096 bits are used.
    #[error("RSA key of {0} bits, allowed are 2048 to 4096")]
    KeySize(usize),
    /// Only keys with the exponent 65537 are used.
    #[error("RSA key with an exponent other than 65537")]
    KeyExponent,
    /// Not a PKCS#8 RSA private key in PEM.
    #[error("not an RSA private key in PKCS#8 PEM")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others than the owner may read the key file.
    #[error("key file {path} is accessible by others (mode {mode:03o}); set its mode to 600")]
    Permissions {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file could not be read or written.
    #[error("key file {path}")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Making a key or a signature failed.
    #[error("RSA operation failed")]
    Rsa(#[source] Box<dyn std::error::Error + Send + Sync>),
}
