//! Tests of the Noise core alone, without SC1's framing and credential, with the published vectors
//! of `Noise_NX_25519_AESGCM_SHA256`.

use std::sync::LazyLock;

use serde_json::Value;

use super::unhex;
use crate::secure::{
    cipher::Cipher,
    keys::{DhSecret, SecretBytes},
    symmetric::Symmetric,
};

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/data/noise_nx_vectors.json")).unwrap());

fn field(vector: &Value, name: &str) -> Vec<u8> {
    unhex(vector[name].as_str().unwrap())
}

fn secret(vector: &Value, name: &str) -> DhSecret {
    DhSecret::from_bytes(&SecretBytes::new(field(vector, name).try_into().unwrap()))
}

/// Returns the handshake message of the initiator and that of the responder, and what
/// [`Symmetric::split`] returns after them.
fn handshake(vector: &Value) -> ([Vec<u8>; 2], (Cipher, Cipher, [u8; 32])) {
    let messages = &vector["messages"];
    let (initiator, responder) = (secret(vector, "init_ephemeral"), secret(vector, "resp_ephemeral"));
    let responder_static = secret(vector, "resp_static");
    let mut noise = Symmetric::new(&field(vector, "resp_prologue"));
    let mut first = initiator.public().to_vec();
    noise.mix_hash(initiator.public());
    noise
        .encrypt_and_hash(&field(&messages[0], "payload"), &mut first)
        .unwrap();
    let mut second = responder.public().to_vec();
    noise.mix_hash(responder.public());
    noise.mix_key(&responder.agree(initiator.public()).unwrap());
    noise.encrypt_and_hash(responder_static.public(), &mut second).unwrap();
    noise.mix_key(&responder_static.agree(initiator.public()).unwrap());
    noise
        .encrypt_and_hash(&field(&messages[1], "payload"), &mut second)
        .unwrap();
    ([first, second], noise.split())
}

#[test]
fn noise_core_reproduces_the_published_vectors() {
    let vectors = VECTORS["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let messages = vector["messages"].as_array().unwrap();
        let (written, (mut initiator, mut responder, hash)) = handshake(vector);
        for (written, message) in written.iter().zip(messages) {
            assert_eq!(*written, field(message, "ciphertext"));
        }
        if vector["handshake_hash"].is_string() {
            assert_eq!(hash.as_slice(), field(vector, "handshake_hash"));
        }
        for (n, message) in messages.iter().enumerate().skip(2) {
            let cipher = if n % 2 == 0 { &mut initiator } else { &mut responder };
            let mut sealed = field(message, "payload");
            let tag = cipher.encrypt(&[], &mut sealed).unwrap();
            sealed.extend_from_slice(&tag);
            assert_eq!(sealed, field(message, "ciphertext"), "{n}");
        }
    }
}
