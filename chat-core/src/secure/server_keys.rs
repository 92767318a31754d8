//! What a server needs at each handshake: its X25519 static key and the credential for it.

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

/// How often a server should take a new static key.
pub const ROTATE_EVERY: Duration = Duration::from_secs(24 * 3600);

/// A server's identity and its current static key, which lives in memory only.
///
/// Share it in an [`Arc`]. The RSA key signs once at the start and once at each rotation; handshakes only read.
pub struct ServerKeys {
    identity: ServerIdentity,
    current: RwLock<Arc<CertifiedKey>>,
}

/// A static key and the encoded credential for it.
pub(super) struct CertifiedKey {
    pub(super) secret: DhSecret,
    pub(super) credential: Vec<u8>,
    validity: Validity,
}

impl ServerKeys {
    /// Takes a first static key, valid from `unix_now` (seconds).
    ///
    /// # Errors
    /// Signing failed.
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

    /// Replaces the static key; handshakes under way keep the old one. The old secret is wiped when the last of them ends.
    ///
    /// One RSA signature: some milliseconds, so call it on a blocking thread.
    ///
    /// # Errors
    /// Signing failed; the old key stays.
    pub fn rotate(&self, unix_now: u64) -> Result<(), IdentityError> {
        let next = CertifiedKey::issue(&self.identity, DhSecret::generate(), unix_now)?;
        *self.current.write() = Arc::new(next);
        Ok(())
    }

    /// Whether [`ROTATE_EVERY`] has passed since the last rotation, or the clock was set back behind it.
    #[must_use]
    pub fn rotation_due(&self, unix_now: u64) -> bool {
        let issued = self.current().validity.not_before;
        unix_now >= issued.saturating_add(ROTATE_EVERY.as_secs()) || unix_now < issued
    }

    /// The key that clients pin.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// The RSA key behind the credentials.
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
