//! Server credential: a signature, made with a server's RSA key, for the server's X25519 static
//! key. It is valid for some days.

use std::time::Duration;

use rsa::{
    BigUint, RsaPublicKey,
    pkcs1::{self, der::Decode as _},
    pkcs8::{ObjectIdentifier, SubjectPublicKeyInfoRef},
    pss::{Signature, VerifyingKey},
    sha2::Sha256 as RsaSha256,
    signature::Verifier,
};

use super::{error::HandshakeError, fingerprint::Fingerprint, handshake::PinPolicy};

/// Lifetime of a credential.
pub const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time for which a client accepts a credential before the start and after the end of its validity,
/// because the clocks of client and server may differ.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);
/// Allowed sizes of an RSA modulus, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Size of a credential without its two fields of variable size, in bytes: version, profile,
/// validity, and the lengths of these two fields.
const FIXED_FIELDS_LEN: usize = 1 + 2 + 8 + 8 + 2 + 2;
/// Version of the encoding of a credential.
const VERSION: u8 = 1;
/// Label in the message that [`signed_message`] returns.
const LABEL: &[u8] = b"SC1 server credential v1\0";
/// Identifier of the algorithm `rsaEncryption` (RFC 8017).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// The public exponent 65537 as big-endian bytes, without leading zeros.
pub(super) const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// Validity of a credential, in Unix seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

/// Fields of a credential, decoded from a server's hello or to be encoded for one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credential<'a> {
    /// Number of the profile, the set of algorithms that client and server use.
    profile: u16,
    validity: Validity,
    /// The server's RSA key as DER SubjectPublicKeyInfo.
    spki: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Credential<'a> {
    pub(super) const fn new(profile: u16, validity: Validity, spki: &'a [u8], signature: &'a [u8]) -> Self {
        Self {
            profile,
            validity,
            spki,
            signature,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_FIELDS_LEN + self.spki.len() + self.signature.len());
        out.push(VERSION);
        out.extend_from_slice(&self.profile.to_be_bytes());
        out.extend_from_slice(&self.validity.not_before.to_be_bytes());
        out.extend_from_slice(&self.validity.not_after.to_be_bytes());
        for part in [self.spki, self.signature] {
            let length = u16::try_from(part.len()).expect("RSA keys are limited to 4096 bits");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader(bytes);
        let [version] = reader.array()?;
        if version != VERSION {
            return Err(HandshakeError::CredentialVersion(version));
        }
        let profile = u16::from_be_bytes(reader.array()?);
        let not_before = u64::from_be_bytes(reader.array()?);
        let not_after = u64::from_be_bytes(reader.array()?);
        let spki = reader.prefixed()?;
        let signature = reader.prefixed()?;
        if !reader.0.is_empty() || not_before > not_after {
            return Err(HandshakeError::MalformedCredential);
        }
        let validity = Validity { not_before, not_after };
        Ok(Self::new(profile, validity, spki, signature))
    }

    /// Verifies that `pin` accepts the server's RSA key, that this key has signed `static_key`, and
    /// that the credential is valid now and for the chosen `profile`, in the order that
    /// `docs/sc1.md` specifies. Returns the fingerprint of the RSA key.
    pub(super) fn verify(
        &self,
        static_key: &[u8; 32],
        profile: u16,
        pin: &PinPolicy,
        unix_now: u64,
    ) -> Result<Fingerprint, HandshakeError> {
        let key = parse_rsa_key(self.spki)?;
        let presented = Fingerprint::sha256_of(self.spki);
        if !pin.accepts(&presented) {
            return Err(HandshakeError::PinMismatch { presented });
        }
        let signature = Signature::try_from(self.signature).map_err(|_| HandshakeError::BadSignature)?;
        VerifyingKey::<RsaSha256>::new(key)
            .verify(&signed_message(static_key, self.validity, &presented), &signature)
            .map_err(|_| HandshakeError::BadSignature)?;
        self.validity.check(unix_now)?;
        if self.profile != profile {
            return Err(HandshakeError::ProfileMismatch(self.profile));
        }
        Ok(presented)
    }
}

impl Validity {
    fn check(self, now: u64) -> Result<(), HandshakeError> {
        let tolerance = CLOCK_TOLERANCE.as_secs();
        if now.saturating_add(tolerance) < self.not_before {
            return Err(HandshakeError::NotYetValid {
                not_before: self.not_before,
                now,
            });
        }
        if now > self.not_after.saturating_add(tolerance) {
            return Err(HandshakeError::Expired {
                not_after: self.not_after,
                now,
            });
        }
        Ok(())
    }
}

/// Returns the message that the RSA key signs. Like the messages that TLS 1.3 signs, it begins with
/// 64 spaces and a label. TLS does not use this label, so if one RSA key serves both protocols, no
/// signature that was made for one of them is valid in the other.
pub(super) fn signed_message(static_key: &[u8; 32], validity: Validity, key: &Fingerprint) -> Vec<u8> {
    let mut message = vec![b' '; 64];
    message.extend_from_slice(LABEL);
    message.extend_from_slice(static_key);
    message.extend_from_slice(&validity.not_before.to_be_bytes());
    message.extend_from_slice(&validity.not_after.to_be_bytes());
    message.extend_from_slice(key.as_bytes());
    message
}

/// Parses an RSA key, and checks its size and exponent before any arithmetic with it.
fn parse_rsa_key(spki: &[u8]) -> Result<RsaPublicKey, HandshakeError> {
    let malformed = HandshakeError::MalformedKey;
    let info = SubjectPublicKeyInfoRef::try_from(spki).map_err(|_| malformed.clone())?;
    let null_parameters = info.algorithm.parameters.is_some_and(|parameters| parameters.is_null());
    if info.algorithm.oid != RSA_ENCRYPTION || !null_parameters {
        return Err(malformed);
    }
    let bits = info.subject_public_key.as_bytes().ok_or(malformed.clone())?;
    let key = pkcs1::RsaPublicKey::from_der(bits).map_err(|_| malformed.clone())?;
    let modulus = BigUint::from_bytes_be(key.modulus.as_bytes());
    if !RSA_BITS.contains(&modulus.bits()) {
        return Err(HandshakeError::KeySize(modulus.bits()));
    }
    if key.public_exponent.as_bytes() != RSA_EXPONENT {
        return Err(HandshakeError::KeyExponent);
    }
    let exponent = BigUint::from_bytes_be(key.public_exponent.as_bytes());
    RsaPublicKey::new(modulus, exponent).map_err(|_| malformed)
}

/// The part of an encoded credential that was not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(HandshakeError::MalformedCredential)?;
        self.0 = tail;
        Ok(*head)
    }

    /// Reads a field that follows its length, which has 16 bits.
    fn prefixed(&mut self) -> Result<&'a [u8], HandshakeError> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or(HandshakeError::MalformedCredential)?;
        self.0 = tail;
        Ok(head)
    }
}
