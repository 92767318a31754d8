//! Tests of the server's reaction to clients that misbehave during the handshake.

use std::time::{Duration, Instant};

use chat_core::secure::{HandshakeError as E, RejectCode, ServerHandshake, reject};

use crate::peer::{Client, KEYS};

/// Returns a hello of a correct length field, `body`, and an ephemeral key.
fn hello(body: &[u8]) -> Vec<u8> {
    let mut hello = ((body.len() + 32) as u16).to_be_bytes().to_vec();
    hello.extend_from_slice(body);
    hello.extend_from_slice(&[9; 32]);
    hello
}

/// Returns a valid hello.
fn valid() -> Vec<u8> {
    Client::new("chat.example").hello
}

/// Returns a valid hello that `change` has modified.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut hello = valid();
    change(&mut hello);
    hello
}

/// Feeds `bytes` to a server. Returns `Ok` if the server accepts them as a hello, `Err(None)` if it
/// waits for more bytes, and otherwise its error.
fn reaction(bytes: &[u8]) -> Result<(), Option<E>> {
    match ServerHandshake::new().feed(bytes) {
        Ok(None) => Err(None),
        Ok(Some(hello)) => hello.accept(&KEYS, Instant::now()).map(drop).map_err(Some),
        Err(error) => Err(Some(error)),
    }
}

#[test]
fn server_reacts_to_invalid_hellos_as_documented() {
    let with_ephemeral_key = |key: [u8; 32]| changed(|h| h[22..].copy_from_slice(&key));
    let mut one = [0; 32];
    one[0] = 1;
    // The prime of the field of X25519, 2^255 - 19, in little-endian order.
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    let rows: Vec<(&str, Vec<u8>, E)> = vec![
        ("length 0", vec![0, 0], E::LengthOutOfRange(0)),
        ("length one short of the shortest", vec![0, 39], E::LengthOutOfRange(39)),
        ("length one above the longest", vec![0, 119], E::LengthOutOfRange(119)),
        ("length 65535", vec![255, 255], E::LengthOutOfRange(65535)),
        (
            "length in the wrong byte order",
            changed(|h| h.swap(0, 1)),
            E::LengthOutOfRange(0x3400),
        ),
        (
            "TLS ClientHello",
            b"\x16\x03\x01\x02\x00\x01".to_vec(),
            E::LengthOutOfRange(0x1603),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), E::LengthOutOfRange(0x4745)),
        ("SSH", b"SSH-2.0-OpenSSH\r\n".to_vec(), E::LengthOutOfRange(0x5353)),
        (
            "PROXY protocol where none is expected",
            b"PROXY TCP4 ".to_vec(),
            E::LengthOutOfRange(0x5052),
        ),
        ("magic wrong in byte 0", changed(|h| h[2] = b's'), E::BadMagic),
        ("magic wrong in byte 1", changed(|h| h[3] = b'c'), E::BadMagic),
        ("magic wrong in byte 2", changed(|h| h[4] = b'2'), E::BadMagic),
        ("magic wrong in byte 3", changed(|h| h[5] = 1), E::BadMagic),
        ("one byte of wrong magic", vec![0, 52, b'X'], E::BadMagic),
        ("no profiles", hello(b"SC1\0\0\0\0\0"), E::ProfileCount(0)),
        (
            "nine profiles",
            hello(&[&b"SC1\0\x09"[..], &[0; 18], &[0]].concat()),
            E::ProfileCount(9),
        ),
        ("255 profiles", changed(|h| h[6] = 255), E::ProfileCount(255)),
        (
            "count of 8 before one profile",
            hello(b"SC1\0\x08\0\x01\0"),
            E::LengthMismatch,
        ),
        (
            "no length of the name after the profiles",
            hello(b"SC1\0\x02\0\x01\0\x01"),
            E::LengthMismatch,
        ),
        ("unknown profile only", hello(b"SC1\0\x01\0\x02\0"), E::NoCommonProfile),
        (
            "profile 0, which means reject",
            hello(b"SC1\0\x01\0\0\0"),
            E::NoCommonProfile,
        ),
        (
            "profile in the wrong byte order",
            hello(b"SC1\0\x01\x01\0\0"),
            E::NoCommonProfile,
        ),
        (
            "profile across two offers",
            hello(b"SC1\0\x02\x05\0\x01\x05\0"),
            E::NoCommonProfile,
        ),
        (
            "name longer than 64",
            hello(&[&b"SC1\0\x01\0\x01\x41"[..], &[b'a'; 65]].concat()),
            E::NameTooLong(65),
        ),
        ("name length 255", changed(|h| h[9] = 255), E::NameTooLong(255)),
        (
            "name shorter than its length field",
            changed(|h| h[9] = 13),
            E::LengthMismatch,
        ),
        (
            "name longer than its length field",
            changed(|h| h[9] = 11),
            E::LengthMismatch,
        ),
        ("bytes of a name of length 0", changed(|h| h[9] = 0), E::LengthMismatch),
        ("name is not UTF-8", changed(|h| h[10] = 0xff), E::NameNotUtf8),
        (
            "name ends inside a character",
            changed(|h| h[21] = 0xe4),
            E::NameNotUtf8,
        ),
        (
            "name with a surrogate",
            changed(|h| h[10..13].copy_from_slice(&[0xed, 0xa0, 0x80])),
            E::NameNotUtf8,
        ),
        ("byte after the hello", changed(|h| h.push(0)), E::UnexpectedData),
        ("two hellos", [valid(), valid()].concat(), E::UnexpectedData),
        (
            "early record",
            changed(|h| h.extend_from_slice(&[0, 17, 1, 2, 3])),
            E::UnexpectedData,
        ),
        (
            "megabyte after the hello",
            changed(|h| h.resize(1 << 20, 7)),
            E::UnexpectedData,
        ),
        ("all-zero point", with_ephemeral_key([0; 32]), E::WeakPublicKey),
        (
            "u-coordinate 1, a point of order 4",
            with_ephemeral_key(one),
            E::WeakPublicKey,
        ),
        ("point p, which is 0 modulo p", with_ephemeral_key(p), E::WeakPublicKey),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(reaction(&bytes), Err(Some(expected.clone())), "{name}");
        // Of these errors, a server reports only `NoCommonProfile` before it closes the connection.
        let reject_bytes = expected.reject();
        assert_eq!(reject_bytes.is_some(), expected == E::NoCommonProfile, "{name}");
    }
    assert_eq!(reaction(&valid()), Ok(()));
}

#[test]
fn well_formed_hellos_at_the_limits_are_accepted() {
    let eight_profiles = [&b"SC1\0\x08"[..], &[0xee; 14], &[0, 1], &[64], &[b'a'; 64]].concat();
    for (name, bytes) in [
        ("shortest", Client::new("").hello),
        ("longest name", Client::new(&"a".repeat(64)).hello),
        ("eight profiles, ours last, longest name", hello(&eight_profiles)),
    ] {
        assert_eq!(reaction(&bytes), Ok(()), "{name}");
    }
    assert_eq!(hello(&eight_profiles).len(), 120);
}

#[test]
fn server_waits_for_the_rest_of_a_hello_and_refuses_bytes_after_it() {
    let hello = valid();
    for length in 0..hello.len() {
        assert_eq!(reaction(&hello[..length]), Err(None), "{length}");
    }
    let mut accepting = ServerHandshake::new();
    assert!(accepting.is_untouched());
    assert!(accepting.feed(&hello).unwrap().is_some());
    assert!(!accepting.is_untouched());
    assert_eq!(accepting.feed(&hello).unwrap_err(), E::AlreadyEnded);
    let mut failed = ServerHandshake::new();
    assert_eq!(failed.feed(&[255, 255]).unwrap_err(), E::LengthOutOfRange(65535));
    assert_eq!(failed.feed(&hello).unwrap_err(), E::AlreadyEnded);
}

#[test]
fn rejects_have_the_documented_bytes() {
    for (code, retry_after, expected) in [
        (RejectCode::NoProfile, Duration::ZERO, [0, 7, 0, 0, 1, 0, 0, 0, 0]),
        (
            RejectCode::Busy,
            Duration::from_millis(2500),
            [0, 7, 0, 0, 2, 0, 0, 0x09, 0xc4],
        ),
        (
            RejectCode::ShuttingDown,
            // A reject announces a delay of at most a minute.
            Duration::from_secs(3600),
            [0, 7, 0, 0, 3, 0, 0, 0xea, 0x60],
        ),
    ] {
        assert_eq!(reject(code, retry_after), expected);
    }
    let reject_bytes = E::NoCommonProfile.reject();
    assert_eq!(reject_bytes, Some(reject(RejectCode::NoProfile, Duration::ZERO)));
}
