//! [`ServerIdentity`]: the RSA key of a server.

mod file;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use rsa::{
    RsaPrivateKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
    pss::BlindedSigningKey,
    rand_core::{CryptoRngCore, OsRng},
    sha2::Sha256 as RsaSha256,
    signature::{RandomizedSigner as _, SignatureEncoding as _},
    traits::PublicKeyParts as _,
};
use zeroize::Zeroizing;

use super::{
    credential::{RSA_BITS, RSA_EXPONENT},
    error::IdentityError,
    fingerprint::Fingerprint,
};

/// A server's RSA key. It only signs and never decrypts. With SC1, no action of a peer causes a
/// signature. A TLS listener with a self-signed certificate of this key exports the key to the TLS
/// library, which signs each handshake.
///
/// The key is wiped when dropped, and `Debug` shows only its fingerprint.
pub struct ServerIdentity {
    key: BlindedSigningKey<RsaSha256>,
    spki: Vec<u8>,
    fingerprint: Fingerprint,
    /// Number of signatures that this value has made, without those of the TLS library.
    signatures: AtomicU64,
}

impl ServerIdentity {
    /// Size of the keys that [`ServerIdentity::load_or_generate`] generates, in bits.
    pub(crate) const DEFAULT_BITS: usize = 3072;

    /// Generates a key of `bits` bits, 2048 to 4096. This can take some seconds.
    ///
    /// # Errors
    /// [`IdentityError::KeySize`] if the size is out of range; [`IdentityError::Rsa`] if the key
    /// cannot be generated.
    pub fn generate(bits: usize) -> Result<Self, IdentityError> {
        if !RSA_BITS.contains(&bits) {
            return Err(IdentityError::KeySize(bits));
        }
        let key = RsaPrivateKey::new(&mut OsRng, bits).map_err(rsa_error)?;
        Self::from_key(key)
    }

    /// Reads a key from PKCS#8 PEM (`-----BEGIN PRIVATE KEY-----`).
    ///
    /// # Errors
    /// The text is not an RSA key in PKCS#8 PEM, or the key does not have 2048 to 4096 bits and the
    /// exponent 65537.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        let key = RsaPrivateKey::from_pkcs8_pem(pem).map_err(|error| IdentityError::Malformed(Box::new(error)))?;
        Self::from_key(key)
    }

    /// Returns the key as PKCS#8 PEM, in a string that is wiped when dropped.
    ///
    /// # Errors
    /// The key cannot be encoded, which does not happen with a key that this type generated or
    /// read.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, IdentityError> {
        self.key.as_ref().to_pkcs8_pem(LineEnding::LF).map_err(rsa_error)
    }

    /// Returns the key as PKCS#8 DER, for TLS libraries. The bytes are wiped when dropped.
    ///
    /// # Errors
    /// As for [`ServerIdentity::to_pem`].
    #[cfg(feature = "tls")]
    pub(crate) fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let document = self.key.as_ref().to_pkcs8_der().map_err(rsa_error)?;
        Ok(document.to_bytes())
    }

    /// Returns the public key as DER SubjectPublicKeyInfo.
    #[doc(hidden)]
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the fingerprint that clients pin.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the number of signatures that this value has made since the key was generated or
    /// loaded. Those that the TLS library makes with an exported key do not count.
    #[doc(hidden)]
    #[must_use]
    pub fn signatures(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }

    /// Signs by RSASSA-PSS with SHA-256 and 32 bytes of salt, blinded.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.sign_with(message, &mut OsRng)
    }

    /// Signs like [`ServerIdentity::sign`], with randomness from `rng`, whose first 32 bytes are
    /// the salt. Test vectors need a fixed salt.
    pub(super) fn sign_with(&self, message: &[u8], mut rng: &mut dyn CryptoRngCore) -> Result<Vec<u8>, IdentityError> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        let signature = self.key.try_sign_with_rng(&mut rng, message).map_err(rsa_error)?;
        Ok(signature.to_vec())
    }

    /// Signs by RSASSA-PKCS1-v1_5 with SHA-256, blinded, for a self-signed certificate.
    #[cfg(feature = "tls")]
    pub(crate) fn sign_certificate(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.signatures.fetch_add(1, Ordering::Relaxed);
        let key = rsa::pkcs1v15::SigningKey::<RsaSha256>::new(self.key.as_ref().clone());
        let signature = key.try_sign_with_rng(&mut OsRng, message).map_err(rsa_error)?;
        Ok(signature.to_vec())
    }

    fn from_key(key: RsaPrivateKey) -> Result<Self, IdentityError> {
        let bits = key.n().bits();
        if !RSA_BITS.contains(&bits) {
            return Err(IdentityError::KeySize(bits));
        }
        if key.e().to_bytes_be() != RSA_EXPONENT {
            return Err(IdentityError::KeyExponent);
        }
        let spki = key.to_public_key().to_public_key_der().map_err(rsa_error)?.into_vec();
        Ok(Self {
            fingerprint: Fingerprint::sha256_of(&spki),
            spki,
            key: BlindedSigningKey::new(key),
            signatures: AtomicU64::new(0),
        })
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

fn rsa_error(error: impl std::error::Error + Send + Sync + 'static) -> IdentityError {
    IdentityError::Rsa(Box::new(error))
}
