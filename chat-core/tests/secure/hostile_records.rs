//! Tests of the reaction of a server and a client to invalid records from a peer that has valid
//! keys.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use chat_core::secure::{Channel, MAX_CONTENT, OpenError as E, Opened};
use snow::TransportState;

use crate::peer::{framed, our_client, our_server, receive, record, sealed};

/// Function that returns the bytes that the scripted peer sends. `echo` is a record that the
/// channel under test has sent, for peers that send it back.
type Script = fn(&mut TransportState, echo: &[u8]) -> Vec<u8>;

/// A violation of the protocol, and the expected reaction.
struct Row {
    name: &'static str,
    script: Script,
    /// Contents of the valid records before the violation, which the channel still delivers.
    before: &'static [&'static str],
    expected: E,
}

/// Creates a row without valid records before the violation.
const fn row(name: &'static str, expected: E, script: Script) -> Row {
    Row {
        name,
        script,
        before: &[],
        expected,
    }
}

/// Creates a row with valid records before the violation.
const fn after(name: &'static str, before: &'static [&'static str], expected: E, script: Script) -> Row {
    Row {
        name,
        script,
        before,
        expected,
    }
}

fn rows() -> Vec<Row> {
    vec![
        row("length 0", E::TooShort(0), |_, _| vec![0, 0]),
        row("length 1", E::TooShort(1), |_, _| vec![0, 1, 0]),
        row("tag and no type", E::TooShort(16), |t, _| sealed(t, b"")),
        row(
            "announced length one byte over the limit",
            E::TooLong(16_402),
            |_, _| vec![0x40, 0x12],
        ),
        row("sealed record one byte over the limit", E::TooLong(16_402), |t, _| {
            record(t, 0, &[0; MAX_CONTENT + 1])
        }),
        row("length 65535", E::TooLong(65_535), |_, _| vec![255, 255]),
        row("plaintext", E::BadTag, |_, _| framed(b"\0hello, this is not encrypted")),
        row("zeros", E::BadTag, |_, _| framed(&[0; 17])),
        row("first byte changed", E::BadTag, |t, _| {
            changed(record(t, 0, b"hello"), 2)
        }),
        row("last byte changed", E::BadTag, |t, _| {
            changed(record(t, 0, b"hello"), 23)
        }),
        row("length one less", E::BadTag, |t, _| {
            let mut bytes = record(t, 0, b"hello");
            bytes[1] -= 1;
            bytes
        }),
        row("length one more, with a byte appended", E::BadTag, |t, _| {
            let mut bytes = record(t, 0, b"hello");
            bytes[1] += 1;
            bytes.push(0);
            bytes
        }),
        row("two records as one", E::BadTag, |t, _| {
            let joined = [&record(t, 0, b"a")[2..], &record(t, 0, b"b")[2..]].concat();
            framed(&joined)
        }),
        row("our own record sent back", E::BadTag, |_, echo| echo.to_vec()),
        row("record of another channel", E::BadTag, |_, _| {
            record(&mut our_server(Instant::now()).1, 0, b"x")
        }),
        after("record repeated", &["one"], E::BadTag, |t, _| {
            record(t, 0, b"one").repeat(2)
        }),
        after("record left out", &["one"], E::BadTag, |t, _| {
            let first = record(t, 0, b"one");
            record(t, 0, b"two");
            [first, record(t, 0, b"three")].concat()
        }),
        row("first record left out", E::BadTag, |t, _| {
            record(t, 0, b"one");
            record(t, 0, b"two")
        }),
        row("records swapped", E::BadTag, |t, _| {
            let first = record(t, 0, b"one");
            [record(t, 0, b"two"), first].concat()
        }),
        after("old record replayed later", &["one", "two"], E::BadTag, |t, _| {
            let (first, second) = (record(t, 0, b"one"), record(t, 0, b"two"));
            [first.clone(), second, first].concat()
        }),
        row("type 3", E::UnknownType(3), |t, _| record(t, 3, b"")),
        row("type 128", E::UnknownType(128), |t, _| record(t, 128, b"x")),
        row("type 255", E::UnknownType(255), |t, _| record(t, 255, &[0; 100])),
        row("the digit 0 as type", E::UnknownType(b'0'), |t, _| {
            record(t, b'0', b"x")
        }),
        row("REKEY with content", E::MalformedRekey, |t, _| record(t, 1, b"x")),
        row("REKEY at once", E::RekeyTooSoon, |t, _| record(t, 1, b"")),
        after("REKEY after one record", &["one"], E::RekeyTooSoon, |t, _| {
            [record(t, 0, b"one"), record(t, 1, b"")].concat()
        }),
        row("new key without REKEY", E::BadTag, |t, _| {
            t.rekey_outgoing();
            record(t, 0, b"x")
        }),
        row("CLOSE without a code", E::MalformedClose, |t, _| record(t, 2, b"")),
        row("CLOSE with half a code", E::MalformedClose, |t, _| record(t, 2, &[0])),
        row("CLOSE with more than a code", E::MalformedClose, |t, _| {
            record(t, 2, &[0, 0, 0])
        }),
        row("empty stream", E::Truncated, |_, _| Vec::new()),
        row("half a length", E::Truncated, |_, _| vec![0]),
        row("half a record", E::Truncated, |t, _| {
            record(t, 0, b"hello")[..20].to_vec()
        }),
        after("stream that ends between records", &["one"], E::Truncated, |t, _| {
            record(t, 0, b"one")
        }),
        after("CLOSE cut short", &["one"], E::Truncated, |t, _| {
            let mut bytes = record(t, 0, b"one");
            let close = record(t, 2, &[0, 0]);
            bytes.extend_from_slice(&close[..close.len() - 1]);
            bytes
        }),
        row("CLOSE without its last byte, length corrected", E::BadTag, |t, _| {
            let close = record(t, 2, &[0, 0]);
            framed(&close[2..close.len() - 1])
        }),
    ]
}

/// Returns violations after a CLOSE, which is itself delivered.
fn rows_after_close() -> Vec<Row> {
    vec![
        row("data after CLOSE", E::DataAfterClose, |t, _| record(t, 0, b"more")),
        row("CLOSE twice", E::DataAfterClose, |t, _| record(t, 2, &[0, 0])),
        row("REKEY after CLOSE", E::DataAfterClose, |t, _| record(t, 1, b"")),
        row("one byte after CLOSE", E::DataAfterClose, |_, _| vec![0]),
        row("40 bytes of 0xaa after CLOSE", E::DataAfterClose, |_, _| vec![0xaa; 40]),
    ]
}

/// Flips one bit of the byte at `position`.
fn changed(mut bytes: Vec<u8>, position: usize) -> Vec<u8> {
    bytes[position] ^= 1;
    bytes
}

/// Returns a channel under test as server and as client, each with its scripted peer and the name
/// of its role.
fn ends(now: Instant) -> [(Channel, TransportState, &'static str); 2] {
    let (server, client_peer) = our_server(now);
    let (client, server_peer) = our_client(now);
    [(server, client_peer, "server"), (client, server_peer, "client")]
}

#[test]
fn opener_reacts_to_invalid_records_as_documented() {
    let now = Instant::now();
    for row in rows() {
        for (mut ours, mut peer, role) in ends(now) {
            let mut echo = BytesMut::new();
            ours.sealer().seal(now, b"ours", &mut echo).unwrap();
            let bytes = (row.script)(&mut peer, &echo);
            let received = receive(&mut ours, now, &bytes);
            let before = row.before.iter().map(|content| Opened::Data(BytesMut::from(*content)));
            assert_eq!(
                received,
                (before.collect(), Err(row.expected)),
                "{} to a {role}",
                row.name
            );
            assert_stays_failed(&mut ours, &mut peer, now);
        }
    }
}

#[test]
fn records_after_close_are_refused() {
    let now = Instant::now();
    for row in rows_after_close() {
        for (mut ours, mut peer, role) in ends(now) {
            let mut bytes = record(&mut peer, 2, &[1, 2]);
            bytes.extend_from_slice(&(row.script)(&mut peer, &[]));
            let received = receive(&mut ours, now, &bytes);
            let expected = (vec![Opened::Close(0x0102)], Err(row.expected));
            assert_eq!(received, expected, "{} to a {role}", row.name);
            assert_stays_failed(&mut ours, &mut peer, now);
        }
    }
}

#[test]
fn bytes_after_close_are_refused_immediately() {
    let now = Instant::now();
    for (mut ours, mut peer, role) in ends(now) {
        let mut input = BytesMut::from(&record(&mut peer, 2, &[0, 0])[..]);
        assert_eq!(ours.opener().feed(now, &mut input), Ok(Opened::Close(0)), "{role}");
        assert_eq!(ours.opener().feed(now, &mut input), Ok(Opened::NeedMore), "{role}");
        input.extend_from_slice(&[0]);
        assert_eq!(ours.opener().feed(now, &mut input), Err(E::DataAfterClose), "{role}");
    }
}

/// Checks that a failed channel opens no further record, and continues to report that it failed.
fn assert_stays_failed(ours: &mut Channel, peer: &mut TransportState, now: Instant) {
    let mut valid = BytesMut::from(&record(peer, 0, b"valid")[..]);
    assert_eq!(ours.opener().feed(now, &mut valid), Err(E::Failed));
    assert_eq!(ours.opener().end_of_stream(&BytesMut::new()), Err(E::Failed));
    assert!(!ours.opener().is_closed());
}

#[test]
fn record_under_the_old_key_after_a_rekey_is_refused() {
    let start = Instant::now();
    // A REKEY after fewer than 1024 records is allowed only from this time on.
    let later = start + Duration::from_secs(10);
    for (mut ours, mut peer, role) in ends(start) {
        let bytes = [record(&mut peer, 1, b""), record(&mut peer, 0, b"old key")].concat();
        assert_eq!(receive(&mut ours, later, &bytes), (vec![], Err(E::BadTag)), "{role}");
    }
}

#[test]
fn second_rekey_within_ten_seconds_is_refused() {
    let start = Instant::now();
    let later = start + Duration::from_secs(10);
    for (mut ours, mut peer, role) in ends(start) {
        let mut bytes = record(&mut peer, 1, b"");
        peer.rekey_outgoing();
        bytes.extend_from_slice(&record(&mut peer, 0, b"new key"));
        bytes.extend_from_slice(&record(&mut peer, 1, b""));
        let expected = (vec![Opened::Data(BytesMut::from("new key"))], Err(E::RekeyTooSoon));
        assert_eq!(receive(&mut ours, later, &bytes), expected, "{role}");
    }
}

#[test]
fn values_at_the_limits_are_accepted() {
    let now = Instant::now();
    for (mut ours, mut peer, role) in ends(now) {
        let largest = vec![5; MAX_CONTENT];
        let bytes = [
            record(&mut peer, 0, b""),
            record(&mut peer, 0, &largest),
            record(&mut peer, 2, &[255, 255]),
        ]
        .concat();
        // Length, type and tag of a record have 19 bytes; the code of the CLOSE has two more.
        assert_eq!(bytes.len(), 19 + 19 + MAX_CONTENT + 21);
        let expected = vec![
            Opened::Data(BytesMut::new()),
            Opened::Data(BytesMut::from(&largest[..])),
            Opened::Close(0xffff),
        ];
        assert_eq!(receive(&mut ours, now, &bytes), (expected, Ok(())), "{role}");
        assert!(ours.opener().is_closed());
    }
}

#[test]
fn replayed_record_does_not_open_in_a_new_channel() {
    let now = Instant::now();
    let client = crate::peer::Client::new("chat.example");
    let hello = client.hello.clone();
    let accept = |hello: &[u8]| {
        let hello = chat_core::secure::ServerHandshake::new().feed(hello).unwrap().unwrap();
        hello.accept(&crate::peer::KEYS, now).unwrap()
    };
    let mut first = accept(&hello);
    let (_, _, mut transport) = client.finish(&first.reply);
    let login = record(&mut transport, 0, b"login");
    assert_eq!(receive(&mut first.channel, now, &login).0.len(), 1);
    let mut second = accept(&hello);
    assert_ne!(second.reply, first.reply);
    assert_eq!(receive(&mut second.channel, now, &login), (vec![], Err(E::BadTag)));
}
