//! [`Fingerprint`], by which clients recognise a server's key.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 over the DER SubjectPublicKeyInfo of a server's key: of its identity key or, over TLS,
/// of the key of its certificate. A TLS server without a configured certificate uses its identity
/// key, so that the fingerprint is the same as over SC1.
///
/// The text form is `sha256:BASE64` without padding. Text with padding is accepted too.
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the SHA-256 digest of `content`. For the fingerprint of a key, `content` is the
    /// key's DER SubjectPublicKeyInfo.
    #[doc(hidden)]
    #[must_use]
    pub fn sha256_of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Fingerprint {}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Error of parsing a [`Fingerprint`]: the text is not `sha256:` followed by 32 bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has the form sha256:BASE64, with 43 base64 characters")]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.strip_prefix("sha256:").ok_or(InvalidFingerprint)?;
        let encoded = encoded.strip_suffix('=').unwrap_or(encoded);
        let bytes = STANDARD_NO_PAD.decode(encoded).map_err(|_| InvalidFingerprint)?;
        bytes.try_into().map(Self).map_err(|_| InvalidFingerprint)
    }
}
