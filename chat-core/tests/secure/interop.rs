//! Tests of handshakes and channels with a correct peer, most of them with `snow`, an independent
//! implementation of Noise.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use chat_core::secure::{ClientHandshake, ClientProgress, Opened, ServerHandshake, ServerIdentity, ServerKeys};
use snow::TransportState;

use crate::peer::{self, KEYS, UNIX_NOW, our_client, our_server, receive, record};

/// Opens every record in `wire` with snow, which changes its key at each REKEY. Returns the types
/// and contents.
fn open_with_snow(transport: &mut TransportState, wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut records = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let mut plaintext = vec![0; length];
        let read = transport.read_message(&rest[2..2 + length], &mut plaintext).unwrap();
        if plaintext[0] == 1 {
            transport.rekey_incoming();
        }
        records.push((plaintext[0], plaintext[1..read].to_vec()));
        rest = &rest[2 + length..];
    }
    records
}

/// Sends records of many sizes, key changes and a close in both directions between a channel under
/// test and snow.
fn assert_interoperates(mut ours: chat_core::secure::Channel, mut theirs: TransportState, start: Instant) {
    let mut now = start;
    for round in 0..50u8 {
        now += Duration::from_secs(11);
        let mut wire = BytesMut::new();
        let content = vec![round; usize::from(round) * 400];
        ours.sealer().seal(now, &content, &mut wire).unwrap();
        if round % 7 == 3 {
            ours.sealer().rekey(now, &mut wire).unwrap();
        }
        let opened = open_with_snow(&mut theirs, &wire);
        let received: Vec<u8> = opened.iter().flat_map(|(_, content)| content.clone()).collect();
        assert_eq!(received, content);

        let mut wire = BytesMut::from(&record(&mut theirs, 0, &content[..content.len().min(16_384)])[..]);
        if round % 5 == 2 {
            wire.extend_from_slice(&record(&mut theirs, 1, &[]));
            theirs.rekey_outgoing();
        }
        let opened = ours.opener().feed(now, &mut wire).unwrap();
        assert_eq!(
            opened,
            Opened::Data(BytesMut::from(&content[..content.len().min(16_384)]))
        );
        assert_eq!(ours.opener().feed(now, &mut wire), Ok(Opened::NeedMore));
        assert!(wire.is_empty());
    }
    let mut wire = BytesMut::new();
    ours.sealer().seal_close(0x1234, &mut wire).unwrap();
    assert_eq!(open_with_snow(&mut theirs, &wire), [(2, vec![0x12, 0x34])]);
    let close = record(&mut theirs, 2, &[0, 9]);
    assert_eq!(receive(&mut ours, now, &close), (vec![Opened::Close(9)], Ok(())));
}

#[test]
fn server_interoperates_with_snow() {
    let now = Instant::now();
    let (channel, transport) = our_server(now);
    assert_interoperates(channel, transport, now);
}

#[test]
fn client_interoperates_with_snow() {
    let now = Instant::now();
    let (channel, transport) = our_client(now);
    assert_interoperates(channel, transport, now);
}

#[test]
fn channel_binding_is_equal_at_both_ends_and_unique() {
    let now = Instant::now();
    let client = peer::Client::new("名.example");
    let hello = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
    assert_eq!(hello.server_name(), "名.example");
    let accepted = hello.accept(&KEYS, now).unwrap();
    assert_eq!(accepted.server_name, "名.example");
    let (_, binding, _) = client.finish(&accepted.reply);
    assert_eq!(accepted.channel.binding().as_slice(), binding);

    let mut client = ClientHandshake::new("", peer::pin()).unwrap();
    let reply = peer::honest_reply(client.hello());
    let ClientProgress::Done(connected) = client.feed(now, UNIX_NOW, &reply.bytes).unwrap() else {
        panic!("the reply is complete");
    };
    assert_eq!(connected.channel.binding().as_slice(), reply.binding);
    assert_ne!(reply.binding, binding);
    assert_eq!(connected.fingerprint, KEYS.fingerprint());
}

#[test]
fn credential_of_the_server_has_the_documented_bytes() {
    let client = peer::Client::new("");
    let hello = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
    let accepted = hello.accept(&KEYS, Instant::now()).unwrap();
    let (credential, _, _) = client.finish(&accepted.reply);
    let mut expected = vec![1, 0, 1];
    expected.extend_from_slice(&UNIX_NOW.to_be_bytes());
    expected.extend_from_slice(&(UNIX_NOW + 7 * 86_400).to_be_bytes());
    let spki = peer::spki_of(&peer::RSA);
    expected.extend_from_slice(&(spki.len() as u16).to_be_bytes());
    expected.extend_from_slice(&spki);
    expected.extend_from_slice(&256u16.to_be_bytes());
    assert!(credential.starts_with(&expected));
    assert_eq!(credential.len(), expected.len() + 256);
}

#[test]
fn handshakes_make_no_rsa_signature() {
    let now = Instant::now();
    let identity = ServerIdentity::from_pem(&KEYS.identity().to_pem().unwrap()).unwrap();
    let keys = ServerKeys::new(identity, UNIX_NOW).unwrap();
    for _ in 0..200 {
        let client = peer::Client::new("");
        let hello = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
        hello.accept(&keys, now).unwrap();
    }
    assert_eq!(keys.identity().signatures(), 1);
    keys.rotate(UNIX_NOW).unwrap();
    assert_eq!(keys.identity().signatures(), 2);
}

#[test]
fn rotation_changes_the_static_key_but_not_the_pinned_key() {
    let now = Instant::now();
    let identity = ServerIdentity::from_pem(&KEYS.identity().to_pem().unwrap()).unwrap();
    let keys = ServerKeys::new(identity, UNIX_NOW).unwrap();
    let day = 86_400;
    assert!(!keys.is_rotation_due(UNIX_NOW + day - 1));
    assert!(keys.is_rotation_due(UNIX_NOW + day));
    assert!(keys.is_rotation_due(UNIX_NOW - 1), "the clock was set back");

    let credential = |keys: &ServerKeys| {
        let client = peer::Client::new("");
        let hello = ServerHandshake::new().feed(&client.hello).unwrap().unwrap();
        client.finish(&hello.accept(keys, now).unwrap().reply).0
    };
    // A hello that is read before the rotation can be answered after it.
    let mut client = ClientHandshake::new("", peer::pin()).unwrap();
    let hello = ServerHandshake::new().feed(client.hello()).unwrap().unwrap();
    let before = credential(&keys);
    keys.rotate(UNIX_NOW + day).unwrap();
    assert_ne!(credential(&keys), before);
    assert!(!keys.is_rotation_due(UNIX_NOW + day));
    assert_eq!(keys.fingerprint(), KEYS.fingerprint());
    let reply = hello.accept(&keys, now).unwrap().reply;
    let progress = client.feed(now, UNIX_NOW + day, &reply).unwrap();
    assert!(matches!(progress, ClientProgress::Done(_)));
}

#[test]
fn handshake_succeeds_with_large_identity_keys() {
    let now = Instant::now();
    for bits in [3072, 4096] {
        let keys = ServerKeys::new(ServerIdentity::generate(bits).unwrap(), UNIX_NOW).unwrap();
        let pin = chat_core::secure::PinPolicy::exactly(keys.fingerprint());
        let mut client = ClientHandshake::new("chat.example", pin).unwrap();
        let hello = ServerHandshake::new().feed(client.hello()).unwrap().unwrap();
        let reply = hello.accept(&keys, now).unwrap().reply;
        assert_eq!(reply.len(), if bits == 3072 { 929 } else { 1185 });
        let progress = client.feed(now, UNIX_NOW, &reply).unwrap();
        assert!(matches!(progress, ClientProgress::Done(_)));
    }
}
