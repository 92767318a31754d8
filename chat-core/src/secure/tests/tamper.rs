//! Tests of handshakes and record streams in which each byte is changed in turn, or which are split
//! at each position; of record streams without their end; and of a server's static key of low
//! order.

use std::time::Instant;

use bytes::BytesMut;

use super::{UNIX_NOW, keys};
use crate::secure::{
    ClientHandshake, ClientProgress, HandshakeError, OpenError, Opened, Opener, PinPolicy, Sealer, ServerHandshake,
    cipher::Cipher,
    keys::{DhSecret, SecretBytes},
};

/// Bits that a test flips in each byte of a record stream, as masks for XOR.
const FLIPS: [u8; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x55];

/// Returns the receiving half of a channel with a fixed key.
fn opener(now: Instant) -> Opener {
    Opener::new(Cipher::new(&SecretBytes::new([7; 32])), now)
}

/// Returns the contents of 18 records of many lengths, and what the sending half writes for them:
/// 18 data records, one REKEY, one CLOSE.
fn recorded(now: Instant) -> (Vec<Vec<u8>>, BytesMut) {
    let mut sealer = Sealer::new(Cipher::new(&SecretBytes::new([7; 32])), now);
    let mut wire = BytesMut::new();
    let contents: Vec<Vec<u8>> = (0..18u8).map(|n| vec![n; usize::from(n) * 7]).collect();
    for (n, content) in contents.iter().enumerate() {
        sealer.seal(now, content, &mut wire).unwrap();
        if n == 9 {
            sealer.rekey(now, &mut wire).unwrap();
        }
    }
    sealer.seal_close(258, &mut wire).unwrap();
    (contents, wire)
}

#[derive(Debug, PartialEq, Eq)]
struct Received {
    contents: Vec<Vec<u8>>,
    /// Close code that was received.
    closed: Option<u16>,
    /// First error of the opener; if there was none, the result of the end of the stream.
    end: Result<(), OpenError>,
}

/// Passes `chunks` to an opener, each as if it came from one read, and then the end of the stream.
fn receive<'a>(now: Instant, chunks: impl IntoIterator<Item = &'a [u8]>) -> Received {
    let mut opener = opener(now);
    // Otherwise the recorded REKEY would come too soon. That limit has its own tests.
    opener.set_records(2000);
    let mut received = Received {
        contents: Vec::new(),
        closed: None,
        end: Ok(()),
    };
    let mut input = BytesMut::new();
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match opener.feed(now, &mut input) {
                Ok(Opened::NeedMore) => break,
                Ok(Opened::Data(data)) => received.contents.push(data.to_vec()),
                Ok(Opened::Close(code)) => received.closed = Some(code),
                Err(error) => {
                    received.end = Err(error);
                    return received;
                }
            }
        }
    }
    received.end = opener.end_of_stream(&input);
    received
}

#[test]
fn every_changed_byte_of_twenty_records_is_detected() {
    let now = Instant::now();
    let (contents, wire) = recorded(now);
    for position in 0..wire.len() {
        for flip in FLIPS {
            let mut changed = wire.clone();
            changed[position] ^= flip;
            let received = receive(now, [&changed[..]]);
            assert!(received.end.is_err(), "byte {position} ^ {flip:#x}");
            assert!(contents.starts_with(&received.contents), "byte {position}");
            assert_eq!(received.closed, None, "byte {position} ^ {flip:#x}");
        }
    }
}

#[test]
fn opener_yields_the_same_records_for_every_split() {
    let now = Instant::now();
    let (contents, wire) = recorded(now);
    let expected = Received {
        contents,
        closed: Some(258),
        end: Ok(()),
    };
    assert_eq!(receive(now, [&wire[..]]), expected);
    assert_eq!(receive(now, wire.chunks(1)), expected);
    for cut in 0..=wire.len() {
        assert_eq!(receive(now, [&wire[..cut], &wire[cut..]]), expected, "{cut}");
    }
}

#[test]
fn stream_that_ends_early_is_reported_as_truncated() {
    let now = Instant::now();
    let (contents, wire) = recorded(now);
    for end in 0..wire.len() {
        let received = receive(now, [&wire[..end]]);
        assert_eq!(received.end, Err(OpenError::Truncated), "{end}");
        assert!(contents.starts_with(&received.contents));
    }
}

/// Runs a handshake with fixed ephemeral secrets, up to the client's first record. The arguments
/// change its messages in transit, as an attacker would. Returns the first error of either side.
fn handshake(change_hello: impl Fn(&mut Vec<u8>), change_answer: impl Fn(&mut Vec<u8>)) -> Result<(), String> {
    let now = Instant::now();
    let fixed = |byte| DhSecret::from_bytes(&SecretBytes::new([byte; 32]));
    let pin = PinPolicy::exactly(keys().fingerprint());
    let mut client = ClientHandshake::with_ephemeral("chat.example", pin, fixed(1)).unwrap();
    let mut hello = client.hello().to_vec();
    change_hello(&mut hello);
    let read = ServerHandshake::new().feed(&hello);
    let hello = read
        .map_err(|error| format!("server: {error}"))?
        .ok_or("server waits for more")?;
    let mut accepted = hello
        .accept_with(keys(), now, fixed(2))
        .map_err(|error| format!("server: {error}"))?;
    let mut answer = accepted.reply.to_vec();
    change_answer(&mut answer);
    let progress = client.feed(now, UNIX_NOW, &answer);
    let ClientProgress::Done(mut connected) = progress.map_err(|error| format!("client: {error}"))? else {
        return Err("client waits for more, or was rejected".to_owned());
    };
    let mut wire = BytesMut::new();
    connected.channel.sealer().seal(now, b"x", &mut wire).unwrap();
    let opened = accepted.channel.opener().feed(now, &mut wire);
    opened.map(drop).map_err(|error| format!("server: {error}"))
}

#[test]
fn every_changed_byte_of_the_handshake_is_detected() {
    let untouched = |_: &mut Vec<u8>| ();
    assert_eq!(handshake(untouched, untouched), Ok(()));
    // The lengths of both messages, as in `docs/sc1.md`, section 10.
    let (hello_length, answer_length) = (54, 673);
    for flip in [0x01, 0x80, 0xff] {
        for position in 0..hello_length {
            let detected = handshake(|hello| hello[position] ^= flip, untouched);
            // X25519 ignores the highest bit of a point, but the handshake hash covers that bit
            // too.
            assert!(detected.is_err(), "hello byte {position} ^ {flip:#x}");
        }
        for position in 0..answer_length {
            let detected = handshake(untouched, |answer| answer[position] ^= flip);
            assert!(detected.is_err(), "answer byte {position} ^ {flip:#x}");
        }
    }
}

#[test]
fn handshake_succeeds_for_every_split_of_its_messages() {
    let now = Instant::now();
    let fixed = |byte| DhSecret::from_bytes(&SecretBytes::new([byte; 32]));
    let client = || {
        let pin = PinPolicy::exactly(keys().fingerprint());
        ClientHandshake::with_ephemeral("chat.example", pin, fixed(1)).unwrap()
    };
    let hello = client().hello().to_vec();
    let mut binding = None;
    for cut in 0..hello.len() {
        let mut server = ServerHandshake::new();
        assert!(server.feed(&hello[..cut]).unwrap().is_none(), "{cut}");
        let read = server.feed(&hello[cut..]).unwrap().unwrap();
        let accepted = read.accept_with(keys(), now, fixed(2)).unwrap();
        let expected = binding.get_or_insert(*accepted.channel.binding());
        assert_eq!(accepted.channel.binding(), expected);
        assert!(matches!(server.feed(&[]), Err(HandshakeError::AlreadyEnded)));
    }
    let read = ServerHandshake::new().feed(&hello).unwrap().unwrap();
    let answer = read.accept_with(keys(), now, fixed(2)).unwrap().reply;
    for cut in 0..answer.len() {
        let mut client = client();
        let waiting = client.feed(now, UNIX_NOW, &answer[..cut]);
        assert!(matches!(waiting, Ok(ClientProgress::NeedMore)), "{cut}");
        let ClientProgress::Done(connected) = client.feed(now, UNIX_NOW, &answer[cut..]).unwrap() else {
            panic!("{cut}");
        };
        assert_eq!(Some(*connected.channel.binding()), binding);
    }
}

#[test]
fn client_rejects_static_key_of_low_order() {
    let now = Instant::now();
    let mut client = ClientHandshake::new("", PinPolicy::FirstContact).unwrap();
    let read = ServerHandshake::new().feed(client.hello()).unwrap();
    let dishonest = DhSecret::generate().with_public([0; 32]);
    let keys = super::keys_with(dishonest);
    let accepted = read.unwrap().accept(&keys, now).unwrap();
    let refused = client.feed(now, UNIX_NOW, &accepted.reply);
    assert!(matches!(refused, Err(HandshakeError::WeakPublicKey)));
}
