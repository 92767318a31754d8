//! Golden files: the encoded bytes of samples of every kind of packet and body. A difference means
//! that a sample, the protocol or the stored format has changed. If that is intended, run the tests
//! with `UPDATE_GOLDEN=1`, which rewrites the files.

use std::fmt::Write as _;
use std::path::Path;

use bytes::BytesMut;

use super::samples;
use crate::codec::{Request, RequestId, body, client, server};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Compares encoded samples with the file `name` in `tests/golden`, each line of which contains the
/// name of a sample and its bytes in hex.
fn check(name: &str, encoded_samples: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let encoded: String = encoded_samples
        .into_iter()
        .map(|(name, bytes)| format!("{name} {}\n", hex(&bytes)))
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &encoded).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (encoded, golden) in encoded.lines().zip(golden.lines()) {
        assert_eq!(encoded, golden, "in {}", path.display());
    }
    assert_eq!(
        encoded.lines().count(),
        golden.lines().count(),
        "lines of {}",
        path.display()
    );
}

#[test]
fn requests_match_their_golden_file() {
    check(
        "requests.txt",
        samples::requests().into_iter().map(|(name, kind)| {
            let mut out = BytesMut::new();
            let id = RequestId(77);
            client::encode_request(&Request { id, kind }, &mut out);
            (name, out.to_vec())
        }),
    );
}

#[test]
fn replies_match_their_golden_file() {
    check(
        "replies.txt",
        samples::results().into_iter().map(|(name, result)| {
            let mut out = BytesMut::new();
            server::encode_reply(RequestId(77), &result, &mut out);
            (name, out.to_vec())
        }),
    );
}

#[test]
fn pushes_match_their_golden_file() {
    let frames = samples::pushes().into_iter();
    check(
        "pushes.txt",
        frames.map(|(name, push)| (name, server::encode_push(&push).to_vec())),
    );
}

#[test]
fn bodies_match_their_golden_file() {
    let bodies = samples::bodies().into_iter();
    check(
        "bodies.txt",
        bodies.map(|(name, sample)| (name, body::encode(&sample).to_vec())),
    );
}
