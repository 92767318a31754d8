//! X25519 secrets and shared secrets. They are wiped when dropped, and have no `Debug`.

use std::ops::{Deref, DerefMut};

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes that are wiped when dropped. Has no `Debug`, unlike `Zeroizing`, which would
/// print the bytes.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub(super) struct SecretBytes([u8; 32]);

impl SecretBytes {
    pub(super) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Deref for SecretBytes {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

/// X25519 secret of one side, with its public key: ephemeral (one handshake) or static (one
/// credential).
pub(super) struct DhSecret {
    secret: StaticSecret,
    public: [u8; 32],
}

/// Error of a key agreement: the peer's public key is a point of low order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WeakPublicKey;

impl DhSecret {
    /// Generates a secret from the operating system's random numbers.
    pub(super) fn generate() -> Self {
        let mut bytes = SecretBytes::default();
        getrandom::fill(bytes.as_mut_slice()).expect("the operating system provides random bytes");
        Self::from_bytes(&bytes)
    }

    /// Creates a secret from these bytes. Apart from `generate`, only tests with fixed keys use
    /// this.
    pub(super) fn from_bytes(bytes: &SecretBytes) -> Self {
        let secret = StaticSecret::from(**bytes);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    pub(super) const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Replaces the public key by one that does not belong to the secret, for tests of a dishonest
    /// peer.
    #[cfg(test)]
    pub(super) const fn with_public(mut self, public: [u8; 32]) -> Self {
        self.public = public;
        self
    }

    /// Computes the shared secret with the public key `peer`. Fails if the result is zero, as for a
    /// point of low order (RFC 7748 §6.1).
    pub(super) fn agree(&self, peer: &[u8; 32]) -> Result<SecretBytes, WeakPublicKey> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*peer));
        if shared.was_contributory() {
            Ok(SecretBytes::new(shared.to_bytes()))
        } else {
            Err(WeakPublicKey)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails to compile for a type that implements `Debug`: then both impls apply, and the call is
    /// ambiguous.
    macro_rules! assert_not_debug {
        ($($secret:ty),+ $(,)?) => { $({
            trait Hidden<Marker> { fn check() {} }
            impl<T: ?Sized> Hidden<()> for T {}
            struct Shown;
            impl<T: ?Sized + std::fmt::Debug> Hidden<Shown> for T {}
            <$secret as Hidden<_>>::check();
        })+ };
    }

    #[test]
    fn secret_types_have_no_debug_output() {
        assert_not_debug!(
            DhSecret,
            SecretBytes,
            crate::secure::cipher::Cipher,
            crate::secure::symmetric::Symmetric,
            crate::secure::server_keys::CertifiedKey,
        );
    }

    #[test]
    fn agreement_rejects_low_order_points() {
        let secret = DhSecret::generate();
        let mut one = [0; 32];
        one[0] = 1;
        // p - 1, and further encodings of 0 and 1: p and p + 1, where p is 2^255 - 19 (RFC 7748).
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        let mut zero_again = minus_one;
        zero_again[0] = 0xed;
        let mut one_again = minus_one;
        one_again[0] = 0xee;
        for point in [[0; 32], one, minus_one, zero_again, one_again] {
            assert_eq!(secret.agree(&point).err(), Some(WeakPublicKey), "{point:?}");
        }
    }
}
