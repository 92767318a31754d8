//! AES-256-GCM with a counter as nonce: the `CipherState` of the Noise protocol framework.

use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce, Tag, aead::AeadInOut};
use zeroize::Zeroize;

use super::keys::SecretBytes;

/// Size of the authentication tag, in bytes.
pub(super) const TAG_LEN: usize = 16;
/// First counter value that is not used. The limit guarantees that no nonce repeats, and keeps
/// `u64::MAX` for [`Cipher::rekey`].
const COUNTER_END: u64 = 1 << 63;

/// A key, and the counter of its next encryption or decryption. In a channel, each direction has a
/// cipher, and the counter is the number of the next record. A change of the key by
/// [`rekey`](Self::rekey) does not reset the counter.
///
/// The expanded key (round keys and GHASH key) takes about a kilobyte. It is boxed, so that moving
/// a cipher leaves no copy of the key behind, and the state of a connection stays small.
pub(super) struct Cipher {
    aead: Box<Aes256Gcm>,
    counter: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum CipherError {
    /// The ciphertext or its associated data is not authentic.
    BadTag,
    /// The counter has reached its end.
    Exhausted,
}

impl Cipher {
    pub(super) fn new(key: &SecretBytes) -> Self {
        Self {
            aead: expand(key),
            counter: 0,
        }
    }

    /// Encrypts `buffer` in place with the associated data `ad`, advances the counter and returns
    /// the tag.
    pub(super) fn encrypt(&mut self, ad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG_LEN], CipherError> {
        let nonce = self.nonce()?;
        let tag = self
            .aead
            .encrypt_inout_detached(&nonce, ad, buffer.into())
            // Fails only for about 64 GiB or more, which no caller passes.
            .map_err(|_| CipherError::Exhausted)?;
        self.counter += 1;
        Ok(tag.into())
    }

    /// Decrypts `buffer` in place with the associated data `ad`, and advances the counter. A wrong
    /// tag changes neither buffer nor counter.
    pub(super) fn decrypt(&mut self, ad: &[u8], buffer: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), CipherError> {
        let nonce = self.nonce()?;
        self.aead
            .decrypt_inout_detached(&nonce, ad, buffer.into(), &Tag::from(*tag))
            .map_err(|_| CipherError::BadTag)?;
        self.counter += 1;
        Ok(())
    }

    /// Switches to the next key, which is the encryption of zeros with the highest nonce (Noise's
    /// `REKEY`). The counter continues.
    pub(super) fn rekey(&mut self) {
        let mut key = SecretBytes::default();
        let mut tag = self
            .aead
            .encrypt_inout_detached(&nonce(u64::MAX), &[], key.as_mut_slice().into())
            .expect("32 bytes are within the cipher's limit");
        tag.as_mut_slice().zeroize();
        self.aead = expand(&key);
    }

    fn nonce(&self) -> Result<Nonce<aes_gcm::aead::consts::U12>, CipherError> {
        if self.counter >= COUNTER_END {
            return Err(CipherError::Exhausted);
        }
        Ok(nonce(self.counter))
    }

    #[cfg(test)]
    pub(super) fn set_counter(&mut self, counter: u64) {
        self.counter = counter;
    }

    #[cfg(test)]
    pub(super) const fn counter(&self) -> u64 {
        self.counter
    }
}

fn expand(key: &SecretBytes) -> Box<Aes256Gcm> {
    let key: &Key<Aes256Gcm> = (&**key).into();
    Box::new(Aes256Gcm::new(key))
}

fn nonce(counter: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce.into()
}
