//! X25519 secrets and what comes out of them. Wiped when dropped, and without `Debug`.

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// 32 secret bytes that are wiped when dropped. Deliberately not `Debug`.
pub(super) type SecretBytes = Zeroizing<[u8; 32]>;

/// One side's X25519 secret: ephemeral (one handshake) or static (one credential).
pub(super) struct DhSecret {
    secret: StaticSecret,
    public: [u8; 32],
}

/// The peer's public key is a point of low order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WeakPublicKey;

impl DhSecret {
    /// A fresh secret from the operating system's random numbers.
    pub(super) fn generate() -> Self {
        let mut bytes = SecretBytes::default();
        getrandom::fill(bytes.as_mut()).expect("the operating system provides random bytes");
        Self::from_bytes(&bytes)
    }

    /// A given secret; only test vectors fix one.
    pub(super) fn from_bytes(bytes: &SecretBytes) -> Self {
        let secret = StaticSecret::from(**bytes);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    pub(super) const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The shared secret with `peer`, refused when `peer` forced it to zero (RFC 7748 §6.1).
    pub(super) fn agree(&self, peer: &[u8; 32]) -> Result<SecretBytes, WeakPublicKey> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*peer));
        if shared.was_contributory() {
            Ok(Zeroizing::new(shared.to_bytes()))
        } else {
            Err(WeakPublicKey)
        }
    }
}
