//! What is fuzzed. Each function takes any bytes, and fails by panicking; `chat-core/tests/fuzz_inputs.rs` runs the same
//! functions on stable.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use chat_core::codec::frame::{FrameDecoder, SESSION_LIMIT};
use chat_core::codec::{body, client, server};
use chat_core::model::EventKind;
use chat_core::secure::{
    Channel, ClientHandshake, ClientProgress, Opened, PinPolicy, ServerHandshake, ServerIdentity, ServerKeys,
};

const UNIX_NOW: u64 = 1_790_000_000;
const MAX_TEXT: usize = 16 * 1024;

fn keys() -> Arc<ServerKeys> {
    static KEYS: OnceLock<Arc<ServerKeys>> = OnceLock::new();
    Arc::clone(KEYS.get_or_init(|| {
        let identity = ServerIdentity::generate(2048).expect("2048 bits are allowed");
        Arc::new(ServerKeys::new(identity, UNIX_NOW).expect("signing works"))
    }))
}

fn channels() -> (Channel, Channel) {
    let (keys, now) = (keys(), Instant::now());
    let mut client = ClientHandshake::new("fuzz", PinPolicy::exactly(keys.fingerprint())).expect("a valid name");
    let hello = ServerHandshake::new()
        .feed(client.hello())
        .expect("a valid hello")
        .expect("a whole hello");
    let accepted = hello.accept(&keys, now).expect("an honest client");
    match client.feed(now, UNIX_NOW, &accepted.reply).expect("an honest server") {
        ClientProgress::Done(connected) => (connected.channel, accepted.channel),
        other => panic!("the server's answer is whole, got {other:?}"),
    }
}

/// Records: sealed honestly, then changed as the input says. Whatever is opened was sent, in order.
pub(crate) fn record(data: &[u8]) {
    let (&[position, flip, split], content) = (match data.split_first_chunk::<3>() {
        Some(parts) => parts,
        None => return,
    });
    let (mut client, mut server) = channels();
    let now = Instant::now();
    let mut wire = BytesMut::new();
    client.sealer().seal(now, content, &mut wire).expect("an open channel");
    let at = usize::from(position) % wire.len();
    wire[at] ^= flip;

    let rest = wire.split_off(usize::from(split) % (wire.len() + 1));
    let mut opened = Vec::new();
    for chunk in [wire, rest] {
        let mut input = chunk;
        while let Ok(Opened::Data(plain)) = server.opener().feed(now, &mut input) {
            opened.extend_from_slice(&plain);
        }
    }
    assert!(content.starts_with(&opened), "only what was sent is opened");
}

/// Handshakes: any bytes at the server, any bytes at the client.
pub(crate) fn handshake(data: &[u8]) {
    let now = Instant::now();
    if let Ok(Some(hello)) = ServerHandshake::new().feed(data) {
        let _ = hello.accept(&keys(), now);
    }
    let mut client = ClientHandshake::new("fuzz", PinPolicy::exactly(keys().fingerprint())).expect("a valid name");
    if let Ok(ClientProgress::Done(_)) = client.feed(now, UNIX_NOW, data) {
        panic!("a stranger passed for the server");
    }
}

/// Packets: any bytes at either end, as a stream and as stored bodies.
pub(crate) fn packet(data: &[u8]) {
    let mut decoder = FrameDecoder::new(SESSION_LIMIT);
    decoder.feed(BytesMut::from(data));
    while let Ok(Some(packet)) = decoder.next_packet() {
        both_ends(packet);
    }
    both_ends(Bytes::copy_from_slice(data));
    for kind in EventKind::ALL {
        let _ = body::decode(kind, &Bytes::copy_from_slice(data));
    }
}

fn both_ends(packet: Bytes) {
    if let Ok(request) = server::decode_request(packet.clone(), MAX_TEXT) {
        // What was understood can be said again, and is understood the same way.
        let mut again = BytesMut::new();
        client::encode_request(&request, &mut again);
        let mut decoder = FrameDecoder::new(usize::MAX);
        decoder.feed(again);
        let packet = decoder.next_packet().expect("our own length").expect("a whole packet");
        let read_again = server::decode_request(packet, MAX_TEXT).expect("our own packet");
        assert_eq!(format!("{request:?}"), format!("{read_again:?}"));
    }
    let _ = client::decode(packet);
}
