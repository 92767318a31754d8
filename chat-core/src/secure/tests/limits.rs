//! Tests of the sealer and the opener: limits on records and keys, malformed records, and sealing
//! in place. For limits that are too high to reach by sending records, the tests set the counters
//! to the limits or just below them.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::pair;
use crate::secure::{
    MAX_CONTENT, MAX_RECORDS_PER_KEY, OpenError, Opened, RECORD_OVERHEAD, REKEY_AFTER, SealError, record::RecordType,
};

const EMPTY_RECORD: usize = RECORD_OVERHEAD;

#[test]
fn sealer_is_exhausted_at_2_63_records() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    client.sealer().cipher_mut().unwrap().set_counter((1 << 63) - 1);
    server.opener().cipher_mut().unwrap().set_counter((1 << 63) - 1);
    let mut wire = BytesMut::new();
    client.sealer().seal(now, b"last", &mut wire).unwrap();
    let written = wire.clone();
    for _ in 0..2 {
        let refused = client.sealer().seal(now, b"more", &mut wire);
        assert_eq!(refused, Err(SealError::Exhausted));
        assert_eq!(wire, written, "nothing is left of a refused record");
    }
    assert_eq!(
        server.opener().feed(now, &mut wire),
        Ok(Opened::Data(BytesMut::from("last")))
    );
}

#[test]
fn opener_is_exhausted_at_2_63_records() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    server.opener().cipher_mut().unwrap().set_counter(1 << 63);
    let mut wire = BytesMut::new();
    client.sealer().seal(now, b"x", &mut wire).unwrap();
    assert_eq!(server.opener().feed(now, &mut wire), Err(OpenError::Exhausted));
    assert_eq!(server.opener().feed(now, &mut wire), Err(OpenError::Failed));
}

#[test]
fn opener_fails_for_good_after_a_bad_tag_without_advancing_its_counter() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    let mut wire = BytesMut::new();
    client.sealer().seal(now, b"x", &mut wire).unwrap();
    let good = wire.clone();
    wire[5] ^= 1;
    let cipher = server.opener().cipher_mut().unwrap();
    let (body, tag) = wire[2..].split_last_chunk_mut().unwrap();
    assert!(cipher.decrypt(&[], body, tag).is_err());
    assert_eq!(cipher.counter(), 0);
    assert_eq!(server.opener().feed(now, &mut wire), Err(OpenError::BadTag));
    assert_eq!(
        server.opener().feed(now, &mut good.clone()),
        Err(OpenError::Failed),
        "not even the right record opens afterwards"
    );
}

#[test]
fn sealer_changes_keys_after_2_20_records() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    client.sealer().set_records((1 << 20) - 1);
    server.opener().set_records((1 << 20) - 1);
    let mut wire = BytesMut::new();
    client.sealer().seal(now, b"", &mut wire).unwrap();
    assert_eq!(wire.len(), EMPTY_RECORD, "record 2^20 needs no REKEY before it");
    client.sealer().seal(now, b"", &mut wire).unwrap();
    assert_eq!(wire.len(), 3 * EMPTY_RECORD, "a REKEY record precedes record 2^20 + 1");
    for _ in 0..2 {
        let opened = server.opener().feed(now, &mut wire);
        assert_eq!(opened, Ok(Opened::Data(BytesMut::new())));
    }
}

#[test]
fn sealer_changes_keys_after_an_hour() {
    let start = Instant::now();
    let (mut client, mut server) = pair(start);
    let mut wire = BytesMut::new();
    let before = start + REKEY_AFTER - Duration::from_millis(1);
    client.sealer().seal(before, b"", &mut wire).unwrap();
    assert_eq!(wire.len(), EMPTY_RECORD);
    let after = start + REKEY_AFTER;
    client.sealer().seal(after, b"", &mut wire).unwrap();
    assert_eq!(wire.len(), 3 * EMPTY_RECORD);
    let again = after + REKEY_AFTER;
    let mut written = 0;
    client
        .sealer()
        .seal_with(again, &mut wire, |out| {
            written = out.len();
            out.extend_from_slice(b"in place");
        })
        .unwrap();
    // `written` counts the records before, the REKEY record, and the length and type of this
    // record.
    assert_eq!(written, 4 * EMPTY_RECORD + 3);
    // The opener accepts each REKEY, because an hour has passed by its time too.
    for (at, expected) in [(before, ""), (after, ""), (again, "in place")] {
        let opened = server.opener().feed(at, &mut wire);
        assert_eq!(opened, Ok(Opened::Data(BytesMut::from(expected))));
    }
}

#[test]
fn opener_fails_after_2_24_records_without_rekey() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    server.opener().set_records(MAX_RECORDS_PER_KEY - 1);
    let mut wire = BytesMut::new();
    client.sealer().seal(now, b"", &mut wire).unwrap();
    client.sealer().seal(now, b"", &mut wire).unwrap();
    assert!(server.opener().feed(now, &mut wire).is_ok());
    assert_eq!(server.opener().feed(now, &mut wire), Err(OpenError::RekeyOverdue));
}

#[test]
fn opener_accepts_rekey_as_last_record_before_the_limit() {
    let now = Instant::now();
    let (mut client, mut server) = pair(now);
    server.opener().set_records(MAX_RECORDS_PER_KEY - 1);
    let mut wire = BytesMut::new();
    client.sealer().rekey(now, &mut wire).unwrap();
    client.sealer().seal(now, b"y", &mut wire).unwrap();
    assert_eq!(
        server.opener().feed(now, &mut wire),
        Ok(Opened::Data(BytesMut::from("y")))
    );
}

#[test]
fn opener_rejects_rekey_only_if_both_too_few_records_and_too_soon() {
    let start = Instant::now();
    let too_soon = start + Duration::from_millis(9_999);
    let late_enough = start + Duration::from_secs(10);
    for (records, now, expected) in [
        (0, too_soon, Err(OpenError::RekeyTooSoon)),
        (1023, too_soon, Err(OpenError::RekeyTooSoon)),
        (1024, too_soon, Ok(Opened::NeedMore)),
        (0, late_enough, Ok(Opened::NeedMore)),
    ] {
        let (mut client, mut server) = pair(start);
        server.opener().set_records(records);
        let mut wire = BytesMut::new();
        client.sealer().rekey(now, &mut wire).unwrap();
        assert_eq!(server.opener().feed(now, &mut wire), expected, "{records}");
    }
}

#[test]
fn opener_reports_malformed_but_authentic_records() {
    let now = Instant::now();
    let close = RecordType::Close as u8;
    let rekey = RecordType::Rekey as u8;
    for (plaintext, expected) in [
        (vec![3], OpenError::UnknownType(3)),
        (vec![255, 1, 2], OpenError::UnknownType(255)),
        (vec![rekey, 0], OpenError::MalformedRekey),
        (vec![close], OpenError::MalformedClose),
        (vec![close, 0], OpenError::MalformedClose),
        (vec![close, 0, 0, 0], OpenError::MalformedClose),
    ] {
        let (mut client, mut server) = pair(now);
        let mut body = plaintext.clone();
        let tag = client.sealer().cipher_mut().unwrap().encrypt(&[], &mut body).unwrap();
        let mut wire = BytesMut::new();
        wire.extend_from_slice(&u16::try_from(body.len() + 16).unwrap().to_be_bytes());
        wire.extend_from_slice(&body);
        wire.extend_from_slice(&tag);
        assert_eq!(server.opener().feed(now, &mut wire), Err(expected));
        assert_eq!(server.opener().feed(now, &mut wire), Err(OpenError::Failed));
    }
}

#[test]
fn seal_with_divides_content_into_records_that_open() {
    let now = Instant::now();
    let content: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
    for length in [1, 5, MAX_CONTENT, MAX_CONTENT + 1, 2 * MAX_CONTENT, 40_000] {
        let (mut client, mut server) = pair(now);
        let earlier = "earlier";
        let mut wire = BytesMut::from(earlier);
        client
            .sealer()
            .seal_with(now, &mut wire, |out| out.extend_from_slice(&content[..length]))
            .unwrap();
        let records = length.div_ceil(MAX_CONTENT);
        assert_eq!(wire.len(), earlier.len() + length + records * RECORD_OVERHEAD);
        let mut wire = wire.split_off(earlier.len());
        let mut received = BytesMut::new();
        while let Opened::Data(data) = server.opener().feed(now, &mut wire).unwrap() {
            received.extend_from_slice(&data);
        }
        assert_eq!(received, content[..length]);
    }
}

#[test]
fn seal_with_empty_content_writes_nothing() {
    let now = Instant::now();
    let (mut client, _) = pair(now);
    let mut wire = BytesMut::from("earlier");
    let result = client.sealer().seal_with(now, &mut wire, |_| 7);
    assert_eq!(result, Ok(7));
    assert_eq!(wire, "earlier");
}

#[test]
fn sealer_writes_nothing_after_close() {
    let now = Instant::now();
    let (mut client, _) = pair(now);
    let mut wire = BytesMut::new();
    client.sealer().seal_close(7, &mut wire).unwrap();
    let written = wire.clone();
    let sealer = client.sealer();
    assert_eq!(sealer.seal(now, b"x", &mut wire), Err(SealError::Closed));
    assert_eq!(sealer.seal_close(7, &mut wire), Err(SealError::Closed));
    assert_eq!(sealer.rekey(now, &mut wire), Err(SealError::Closed));
    let mut called = false;
    let refused = sealer.seal_with(now, &mut wire, |_| called = true);
    assert_eq!(refused, Err(SealError::Closed));
    assert!(!called);
    assert_eq!(wire, written);
}
