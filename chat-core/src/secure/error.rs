//! Errors of the secure channel and of server identity keys.
//!
//! Each error of a channel ends the connection without telling the peer the reason, except that
//! [`HandshakeError::NoCommonProfile`] is first answered with a reject. The variants are for logs,
//! for the errors that a client reports, and for tests.

use super::fingerprint::Fingerprint;

/// Error of a handshake. The caller must close the connection, and not use any data that it
/// received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The length field of the peer's handshake message is out of range.
    #[error("the handshake message announces {0} bytes, which is out of range")]
    LengthOutOfRange(u16),
    /// The peer does not speak this protocol.
    #[error("the peer's first bytes are not an SC1 hello")]
    BadMagic,
    /// The hello does not offer 1 to 8 profiles.
    #[error("the hello offers {0} profiles; 1 to 8 are allowed")]
    ProfileCount(u8),
    /// The server supports no profile that the client offers; a profile is a set of algorithms. The
    /// server answers with [`HandshakeError::reject`] and closes the connection.
    #[error("client and server have no common profile")]
    NoCommonProfile,
    /// The server name is longer than 64 bytes.
    #[error("the server name has {0} bytes; at most 64 are allowed")]
    NameTooLong(usize),
    /// The server name is not UTF-8.
    #[error("the server name is not UTF-8")]
    NameNotUtf8,
    /// The fields of the message do not add up to its length.
    #[error("the fields of the handshake message do not match its length")]
    LengthMismatch,
    /// Bytes follow the message, although its sender has to wait for the receiver's next message.
    #[error("unexpected bytes follow the handshake message")]
    UnexpectedData,
    /// The key agreement yielded the all-zero secret: the peer sent a point of low order.
    #[error("the peer's point in the key agreement has low order")]
    WeakPublicKey,
    /// A reject message has the wrong length.
    #[error("the reject message is malformed")]
    MalformedReject,
    /// The server chose a profile that was not offered.
    #[error("the server chose profile {0:#06x}, which was not offered")]
    ProfileNotOffered(u16),
    /// The server's message does not authenticate: it was changed in transit, or belongs to another
    /// hello.
    #[error("the server's hello is not authentic")]
    BadTag,
    /// The credential has a version that this program does not know.
    #[error("the credential has the unknown version {0}")]
    CredentialVersion(u8),
    /// The credential is truncated, has surplus bytes, or has a field with an impossible value.
    #[error("the credential is malformed")]
    MalformedCredential,
    /// The server's key is not an RSA key in SubjectPublicKeyInfo form.
    #[error("the server key is not a well-formed RSA key")]
    MalformedKey,
    /// The server's RSA modulus does not have 2048 to 4096 bits.
    #[error("the server key has {0} bits; 2048 to 4096 are allowed")]
    KeySize(usize),
    /// The server's RSA exponent is not 65537.
    #[error("the server key has an exponent other than 65537")]
    KeyExponent,
    /// The server's key is none of the pinned keys.
    #[error("the server key {presented} is none of the pinned keys")]
    PinMismatch {
        /// Fingerprint of the key that the server presented.
        presented: Fingerprint,
    },
    /// The RSA signature over the server's static key is wrong.
    #[error("the signature of the credential is wrong")]
    BadSignature,
    /// The credential is not valid yet, by more than the allowed clock difference.
    #[error("the credential is valid from {not_before}, and the time is {now} (unix seconds)")]
    NotYetValid {
        /// Start of validity, unix seconds.
        not_before: u64,
        /// The client's time, unix seconds.
        now: u64,
    },
    /// The credential has expired, by more than the allowed clock difference.
    #[error("the credential was valid until {not_after}, and the time is {now} (unix seconds)")]
    Expired {
        /// End of validity, unix seconds.
        not_after: u64,
        /// The client's time, unix seconds.
        now: u64,
    },
    /// The profile in the credential differs from the profile that the server chose in plaintext:
    /// an attacker may have changed the choice.
    #[error("the credential is for profile {0:#06x}, not for the chosen one")]
    ProfileMismatch(u16),
    /// The stream ended inside the handshake.
    #[error("the stream ended during the handshake")]
    Truncated,
    /// The handshake has already succeeded or failed, and the caller passed further bytes to it.
    #[error("the handshake is already over")]
    AlreadyEnded,
}

/// Error of the sending half of a channel. The half can send no further record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A close record was already written.
    #[error("the channel is closed for sending")]
    Closed,
    /// The record counter reached its end.
    #[error("the record counter is exhausted")]
    Exhausted,
}

/// Error of the receiving half of a channel. The half opens no further record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The record is shorter than its type and its authentication tag.
    #[error("the record of {0} bytes is too short")]
    TooShort(u16),
    /// The record is longer than one with 16 KiB of content.
    #[error("the record of {0} bytes is too long")]
    TooLong(u16),
    /// The record was forged, changed or repeated, or an earlier record was dropped or reordered.
    #[error("the record is not authentic")]
    BadTag,
    /// The record has a type that the profile does not define.
    #[error("the record has the unknown type {0}")]
    UnknownType(u8),
    /// A REKEY record has content.
    #[error("the rekey record is malformed")]
    MalformedRekey,
    /// The content of a CLOSE record is not a 16-bit code.
    #[error("the close record is malformed")]
    MalformedClose,
    /// The peer changed its key after fewer than 1024 records and less than 10 s under that key.
    #[error("the peer changed its key too soon")]
    RekeyTooSoon,
    /// The peer sent more than 2^24 records under one key.
    #[error("the peer does not change its key")]
    RekeyOverdue,
    /// The record counter reached its end.
    #[error("the record counter is exhausted")]
    Exhausted,
    /// Bytes followed a CLOSE record.
    #[error("data follows the close record")]
    DataAfterClose,
    /// The stream ended without a CLOSE record: data may be missing.
    #[error("the stream ended without a close record")]
    Truncated,
    /// An earlier error ended the receiving half.
    #[error("an earlier error ended the channel")]
    Failed,
}

/// Error of generating, reading, writing or using a server's identity key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The RSA key does not have 2048 to 4096 bits.
    #[error("the RSA key has {0} bits; 2048 to 4096 are allowed")]
    KeySize(usize),
    /// The RSA key has an exponent other than 65537.
    #[error("the RSA key has an exponent other than 65537")]
    KeyExponent,
    /// The text is not a PKCS#8 RSA private key in PEM.
    #[error("the text is not an RSA private key in PKCS#8 PEM")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Users other than the owner can access the key file.
    #[error("the key file {path} is accessible by other users (mode {mode:03o}); set its mode to 600")]
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
    /// Generating or encoding a key, or making a signature, failed.
    #[error("the RSA operation failed")]
    Rsa(#[source] Box<dyn std::error::Error + Send + Sync>),
}
