//! Tests with random bytes: no parser panics, a hello that arrives in two parts has the same
//! outcome unless other bytes follow it, the opener reserves no memory for a record whose length
//! was only announced, and fingerprints survive formatting and parsing.

use std::time::Instant;

use bytes::BytesMut;
use proptest::prelude::*;

use super::UNIX_NOW;
use crate::secure::{
    ClientHandshake, Fingerprint, KnownHosts, Opener, PinPolicy, ServerHandshake, cipher::Cipher,
    credential::Credential, keys::SecretBytes,
};

/// Generates bytes that start like a client's hello, so that they pass the first checks.
fn hello_like() -> impl Strategy<Value = Vec<u8>> {
    let field = (40u16..=118, 0u8..10, prop::collection::vec(any::<u8>(), 0..130));
    field.prop_map(|(length, count, rest)| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(b"SC1\0");
        bytes.push(count);
        bytes.extend_from_slice(&rest);
        bytes
    })
}

/// Generates bytes that start like a server's answer.
fn answer_like() -> impl Strategy<Value = Vec<u8>> {
    let fields = (0u16..1300, 0u16..3, prop::collection::vec(any::<u8>(), 0..1400));
    fields.prop_map(|(length, profile, rest)| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&profile.to_be_bytes());
        bytes.extend_from_slice(&rest);
        bytes
    })
}

/// Feeds a server handshake with `chunks` and returns its outcome as text.
fn server_outcome(chunks: &[&[u8]]) -> String {
    let mut server = ServerHandshake::new();
    for chunk in chunks {
        match server.feed(chunk) {
            Ok(None) => {}
            Ok(Some(hello)) => return format!("{hello:?}"),
            Err(error) => return format!("{error:?}"),
        }
    }
    "needs more bytes".to_owned()
}

proptest! {
    #[test]
    fn server_handshake_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        server_outcome(&[&bytes]);
    }

    #[test]
    fn server_handshake_survives_almost_valid_hellos(bytes in hello_like(), cut in any::<prop::sample::Index>()) {
        let whole = server_outcome(&[&bytes]);
        let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
        let pieces = server_outcome(&[head, tail]);
        // Bytes after a complete hello are detected only if they arrive with the end of the hello.
        if whole != "UnexpectedData" {
            prop_assert_eq!(whole, pieces);
        }
    }

    #[test]
    fn client_handshake_survives_almost_valid_answers(bytes in answer_like()) {
        let now = Instant::now();
        let mut client = ClientHandshake::new("", PinPolicy::FirstContact).unwrap();
        for chunk in bytes.chunks(97) {
            let _ = client.feed(now, UNIX_NOW, chunk);
        }
    }

    #[test]
    fn credential_parser_survives_any_bytes(mut bytes in prop::collection::vec(any::<u8>(), 0..700), version in 0u8..2) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Ok(credential) = Credential::parse(&bytes) {
            let _ = credential.verify(&[9; 32], 1, &PinPolicy::FirstContact, UNIX_NOW);
        }
    }

    #[test]
    fn opener_survives_any_records(bytes in prop::collection::vec(any::<u8>(), 0..70_000)) {
        let now = Instant::now();
        let mut opener = Opener::new(Cipher::new(&SecretBytes::new([1; 32])), now);
        let mut input = BytesMut::from(&bytes[..]);
        let before = input.capacity();
        let opened = opener.feed(now, &mut input);
        prop_assert!(input.capacity() <= before);
        if opened.is_err() {
            prop_assert!(opener.feed(now, &mut input).is_err());
        }
    }

    #[test]
    fn known_hosts_parser_survives_any_text(text in any::<String>(), lines in "([a-z\\[\\]:.]{0,8}:[0-9]{0,6} (sha256:)?[A-Za-z0-9+/=]{0,46}\n?){0,4}") {
        let _ = KnownHosts::parse(&text);
        let _ = KnownHosts::parse(&lines);
        let _ = text.parse::<Fingerprint>();
    }

    #[test]
    fn fingerprints_round_trip(bytes in any::<[u8; 32]>()) {
        let key = Fingerprint::from(bytes);
        prop_assert_eq!(key.to_string().parse(), Ok(key));
    }
}
