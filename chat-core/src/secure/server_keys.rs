//! [`ServerKeys`]: a server's identity, its static key, which is its X25519 key for handshakes, and
//! the credential for the static key.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    credential::{CREDENTIAL_LIFETIME, Credential, Validity, signed_message},
    error::IdentityError,
    fingerprint::Fingerprint,
    handshake::PROFILE_X25519_AESGCM_SHA256,
    identity::ServerIdentity,
    keys::DhSecret,
};
use crate::sync::RwLock;

/// Interval at which a server replaces its static key.
pub const ROTATION_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// A server's identity and its current static key. The static key is never written to disk.
///
/// Share it in an [`Arc`]. The RSA key signs a credential at the start and at each rotation; an SC1
/// handshake uses the current credential and makes no signature.
pub struct ServerKeys {
    identity: ServerIdentity,
    current: RwLock<Arc<CertifiedKey>>,
}

/// A static key, and the encoded credential for it.
pub(super) struct CertifiedKey {
    pub(super) secret: DhSecret,
    pub(super) credential: Vec<u8>,
    validity: Validity,
}

impl ServerKeys {
    /// Generates the first static key. Its credential is valid from `unix_now` (Unix time in
    /// seconds).
    ///
    /// # Errors
    /// [`IdentityError::Rsa`] if the signature failed.
    pub fn new(identity: ServerIdentity, unix_now: u64) -> Result<Self, IdentityError> {
        let first = CertifiedKey::issue(&identity, DhSecret::generate(), unix_now)?;
        Ok(Self::with_key(identity, first))
    }

    pub(super) fn with_key(identity: ServerIdentity, key: CertifiedKey) -> Self {
        Self {
            identity,
            current: RwLock::new(Arc::new(key)),
        }
    }

    /// Replaces the static key. Handshakes in progress keep the old key, whose secret is wiped when
    /// the last of them ends.
    ///
    /// This makes one RSA signature, which takes some milliseconds: call it on a blocking thread.
    ///
    /// # Errors
    /// [`IdentityError::Rsa`] if the signature failed; the old key stays in use.
    #[doc(hidden)]
    pub fn rotate(&self, unix_now: u64) -> Result<(), IdentityError> {
        let next = CertifiedKey::issue(&self.identity, DhSecret::generate(), unix_now)?;
        *self.current.write() = Arc::new(next);
        Ok(())
    }

    /// Returns whether [`ROTATION_INTERVAL`] has passed since the current static key was generated,
    /// or the clock was set back to before that time.
    #[doc(hidden)]
    #[must_use]
    pub fn is_rotation_due(&self, unix_now: u64) -> bool {
        let issued = self.current().validity.not_before;
        unix_now >= issued.saturating_add(ROTATION_INTERVAL.as_secs()) || unix_now < issued
    }

    /// Returns the fingerprint that clients pin.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// Returns the RSA key that signs the credentials.
    #[doc(hidden)]
    #[must_use]
    pub const fn identity(&self) -> &ServerIdentity {
        &self.identity
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read())
    }
}

impl fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKeys")
            .field("identity", &self.identity)
            .field("validity", &self.current().validity)
            .finish_non_exhaustive()
    }
}

impl CertifiedKey {
    fn issue(identity: &ServerIdentity, secret: DhSecret, unix_now: u64) -> Result<Self, IdentityError> {
        let validity = Validity {
            not_before: unix_now,
            not_after: unix_now.saturating_add(CREDENTIAL_LIFETIME.as_secs()),
        };
        Self::sign(identity, secret, validity, |message| identity.sign(message))
    }

    pub(super) fn sign(
        identity: &ServerIdentity,
        secret: DhSecret,
        validity: Validity,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, IdentityError>,
    ) -> Result<Self, IdentityError> {
        let message = signed_message(secret.public(), validity, &identity.fingerprint());
        let signature = sign(&message)?;
        let credential = Credential::new(PROFILE_X25519_AESGCM_SHA256, validity, identity.spki(), &signature).encode();
        Ok(Self {
            secret,
            credential,
            validity,
        })
    }
}
