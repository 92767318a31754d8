//! Tests that both sides reproduce the messages and records in `tests/data/sc1_vectors.json` byte
//! for byte. An independent implementation, which is not in this repository, made the vectors.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use rsa::rand_core::{CryptoRng, OsRng, RngCore};
use serde_json::Value;

use super::{VECTORS, identity, unhex};
use crate::secure::{
    Channel, ClientHandshake, ClientProgress, Fingerprint, Opened, PinPolicy, ServerHandshake, ServerKeys,
    credential::{Validity, signed_message},
    keys::{DhSecret, SecretBytes},
    server_keys::CertifiedKey,
};

/// Random number generator that returns the PSS salt of the vectors first, and then random numbers
/// of the operating system, which RSA uses for blinding. Blinding does not change a signature.
struct SaltThenOs(Option<Vec<u8>>);

impl RngCore for SaltThenOs {
    fn next_u32(&mut self) -> u32 {
        OsRng.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        OsRng.next_u64()
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        match self.0.take() {
            Some(salt) => destination.copy_from_slice(&salt),
            None => OsRng.fill_bytes(destination),
        }
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}

impl CryptoRng for SaltThenOs {}

fn text(name: &str) -> &'static str {
    VECTORS[name].as_str().unwrap()
}

fn field(name: &str) -> Vec<u8> {
    unhex(text(name))
}

fn secret(name: &str) -> DhSecret {
    DhSecret::from_bytes(&SecretBytes::new(field(name).try_into().unwrap()))
}

fn validity() -> Validity {
    Validity {
        not_before: VECTORS["not_before"].as_u64().unwrap(),
        not_after: VECTORS["not_after"].as_u64().unwrap(),
    }
}

fn vector_keys() -> ServerKeys {
    let identity = identity();
    let mut rng = SaltThenOs(Some(field("pss_salt")));
    let key = CertifiedKey::sign(&identity, secret("server_static_private"), validity(), |message| {
        identity.sign_with(message, &mut rng)
    })
    .unwrap();
    ServerKeys::with_key(identity, key)
}

#[test]
fn identity_has_the_vector_fingerprint() {
    let identity = identity();
    assert_eq!(identity.spki(), field("rsa_spki"));
    let expected: [u8; 32] = field("spki_sha256").try_into().unwrap();
    assert_eq!(identity.fingerprint(), Fingerprint::from(expected));
}

#[test]
fn specification_shows_the_fingerprint_of_the_vectors() {
    let specification = include_str!("../../../../docs/sc1.md");
    let mut samples = specification
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("sha256:"));
    let sample: Fingerprint = samples.next().unwrap().parse().unwrap();
    assert_eq!(sample, identity().fingerprint());
    assert_eq!(sample.to_string(), "sha256:g1DrklWQYbNAC0U1sc3Afv947hXsjzYfdyCZyJKuJAg");
    assert_eq!(samples.next(), None);
}

#[test]
fn credential_is_reproduced() {
    let keys = vector_keys();
    let message = signed_message(
        &field("server_static_public").try_into().unwrap(),
        validity(),
        &keys.fingerprint(),
    );
    assert_eq!(message, field("credential_signed_message"));
    assert_eq!(keys.current().credential, field("credential"));
    assert!(field("credential").ends_with(&field("credential_signature")));
}

#[test]
fn whole_session_is_reproduced_byte_for_byte() {
    let now = Instant::now();
    let keys = vector_keys();
    let mut client = ClientHandshake::with_ephemeral(
        text("server_name"),
        PinPolicy::exactly(keys.fingerprint()),
        secret("client_ephemeral_private"),
    )
    .unwrap();
    assert_eq!(client.hello(), field("hello1"));
    assert!(field("hello1").starts_with(&field("prologue")));

    let hello = ServerHandshake::new().feed(client.hello()).unwrap();
    let accepted = hello
        .unwrap()
        .accept_with(&keys, now, secret("server_ephemeral_private"))
        .unwrap();
    assert_eq!(accepted.reply, field("hello2"));
    assert_eq!(accepted.server_name, text("server_name"));

    let progress = client.feed(now, validity().not_before, &accepted.reply);
    let ClientProgress::Done(connected) = progress.unwrap() else {
        panic!("the handshake is not done after the complete reply");
    };
    let binding = field("handshake_hash_channel_binding");
    assert_eq!(connected.channel.binding().as_slice(), binding);
    assert_eq!(accepted.channel.binding().as_slice(), binding);
    assert_records_are_reproduced(now, connected.channel, accepted.channel);
}

fn assert_records_are_reproduced(start: Instant, mut client: Channel, mut server: Channel) {
    // The records are 10 s apart, so that a REKEY is allowed after a single record.
    let mut now = start;
    for record in VECTORS["records"].as_array().unwrap() {
        now += Duration::from_secs(10);
        let (from, to) = match record["dir"].as_str().unwrap() {
            "c2s" => (&mut client, &mut server),
            _ => (&mut server, &mut client),
        };
        let content = unhex(record["content"].as_str().unwrap());
        let mut wire = BytesMut::new();
        seal(from, now, record, &content, &mut wire);
        assert_eq!(wire, unhex(record["record"].as_str().unwrap()));

        let opened = to.opener().feed(now, &mut wire).unwrap();
        let expected = match record["type"].as_u64().unwrap() {
            0 => Opened::Data(BytesMut::from(content.as_slice())),
            1 => Opened::NeedMore,
            _ => Opened::Close(0),
        };
        assert_eq!(opened, expected);
        assert!(wire.is_empty());
    }
    assert_eq!(server.opener().end_of_stream(&BytesMut::new()), Ok(()));
}

fn seal(from: &mut Channel, now: Instant, record: &Value, content: &[u8], wire: &mut BytesMut) {
    let sealer = from.sealer();
    match record["type"].as_u64().unwrap() {
        0 => sealer.seal(now, content, wire),
        1 => sealer.rekey(now, wire),
        _ => sealer.seal_close(0, wire),
    }
    .unwrap();
}
