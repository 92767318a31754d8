//! Tests that need private parts of the channel (fixed secrets, counters, sizes). Other tests of
//! the channel are in `chat-core/tests/secure/`.

mod limits;
mod noise;
mod random;
mod sizes;
mod tamper;
mod vectors;

use std::{
    sync::{LazyLock, OnceLock},
    time::Instant,
};

use super::{
    Channel, ClientHandshake, ClientProgress, PinPolicy, ServerHandshake, ServerIdentity, ServerKeys,
    credential::Validity, keys::DhSecret, server_keys::CertifiedKey,
};

/// Time at which the tests run handshakes, in seconds since 1970.
pub(super) const UNIX_NOW: u64 = 1_790_000_000;

/// The published test vectors. Their RSA key is also the key of the other tests, because generating
/// a key takes seconds.
pub(in crate::secure) static VECTORS: LazyLock<serde_json::Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../tests/data/sc1_vectors.json")).unwrap());

pub(in crate::secure) fn identity() -> ServerIdentity {
    ServerIdentity::from_pem(VECTORS["rsa_private_pkcs8_pem"].as_str().unwrap()).unwrap()
}

fn keys() -> &'static ServerKeys {
    static KEYS: OnceLock<ServerKeys> = OnceLock::new();
    KEYS.get_or_init(|| ServerKeys::new(identity(), UNIX_NOW).unwrap())
}

/// Returns server keys with a given static secret, and a valid credential for its public key.
fn keys_with(secret: DhSecret) -> ServerKeys {
    let identity = identity();
    let validity = Validity {
        not_before: UNIX_NOW,
        not_after: UNIX_NOW + 1,
    };
    let key = CertifiedKey::sign(&identity, secret, validity, |message| identity.sign(message));
    let key = key.unwrap();
    ServerKeys::with_key(identity, key)
}

/// Returns the client's end and the server's end of one channel.
fn pair(now: Instant) -> (Channel, Channel) {
    let pin = PinPolicy::exactly(keys().fingerprint());
    let mut client = ClientHandshake::new("chat.example", pin).unwrap();
    let hello = ServerHandshake::new().feed(client.hello()).unwrap().unwrap();
    let accepted = hello.accept(keys(), now).unwrap();
    match client.feed(now, UNIX_NOW, &accepted.reply).unwrap() {
        ClientProgress::Done(connected) => (connected.channel, accepted.channel),
        other => panic!("{other:?}"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
