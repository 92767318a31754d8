//! Noise's `SymmetricState` for `Noise_NX_25519_AESGCM_SHA256` (Noise revision 34, §5.2).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::{
    cipher::{Cipher, CipherError, TAG_LEN},
    keys::SecretBytes,
};

/// Name of the protocol. It has 28 bytes, fewer than the 32 of a hash, so Noise pads it with zeros
/// instead of hashing it.
const PROTOCOL_NAME: &[u8] = b"Noise_NX_25519_AESGCM_SHA256";

/// Running hash and keys of one handshake.
pub(super) struct Symmetric {
    hash: [u8; 32],
    chaining_key: SecretBytes,
    /// `None` until the first [`mix_key`](Self::mix_key): nothing is encrypted before.
    cipher: Option<Cipher>,
}

impl Symmetric {
    pub(super) fn new(prologue: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash[..PROTOCOL_NAME.len()].copy_from_slice(PROTOCOL_NAME);
        let mut state = Self {
            hash,
            chaining_key: SecretBytes::new(hash),
            cipher: None,
        };
        state.mix_hash(prologue);
        state
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = self.hash_with(data);
    }

    pub(super) fn mix_key(&mut self, input: &SecretBytes) {
        let (chaining_key, key) = hkdf2(&self.chaining_key, input.as_slice());
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(&key));
    }

    /// Appends `plaintext` to `out`, encrypted if there is a key, and adds the appended bytes to
    /// the hash.
    pub(super) fn encrypt_and_hash(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), CipherError> {
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(cipher) = &mut self.cipher {
            let tag = cipher.encrypt(&self.hash, &mut out[start..])?;
            out.extend_from_slice(&tag);
        }
        self.mix_hash(&out[start..]);
        Ok(())
    }

    /// Returns the plaintext of `message`, decrypted in place if there is a key, and adds `message`
    /// to the hash.
    pub(super) fn decrypt_and_hash<'a>(&mut self, message: &'a mut [u8]) -> Result<&'a mut [u8], CipherError> {
        let next_hash = self.hash_with(message);
        let plaintext = match &mut self.cipher {
            None => message,
            Some(cipher) => {
                let (body, tag) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(CipherError::BadTag)?;
                cipher.decrypt(&self.hash, body, tag)?;
                body
            }
        };
        self.hash = next_hash;
        Ok(plaintext)
    }

    /// Returns the sending ciphers of the initiator and of the responder, and the hash of the
    /// handshake.
    pub(super) fn split(self) -> (Cipher, Cipher, [u8; 32]) {
        let (initiator, responder) = hkdf2(&self.chaining_key, &[]);
        (Cipher::new(&initiator), Cipher::new(&responder), self.hash)
    }

    fn hash_with(&self, data: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.hash)
            .chain_update(data)
            .finalize()
            .into()
    }
}

/// Computes HKDF with two outputs, as Noise defines it (§4.3).
fn hkdf2(chaining_key: &SecretBytes, input: &[u8]) -> (SecretBytes, SecretBytes) {
    let temporary = hmac(chaining_key, &[input]);
    let first = hmac(&temporary, &[&[1]]);
    let second = hmac(&temporary, &[first.as_slice(), &[2]]);
    (first, second)
}

fn hmac(key: &SecretBytes, parts: &[&[u8]]) -> SecretBytes {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    let mut result = mac.finalize().into_bytes();
    let mut output = SecretBytes::default();
    output.copy_from_slice(&result);
    result.as_mut_slice().zeroize();
    output
}
