//! Tests of a client's handshake: the replies that it accepts, the rejections that it reports, and
//! the invalid replies that it refuses.

mod invalid_replies;

use std::time::{Duration, Instant};

use chat_core::secure::{
    ClientHandshake, ClientProgress, Fingerprint, HandshakeError as E, PinPolicy, RejectCode, ServerHandshake, reject,
};
use rsa::{
    BigUint, RsaPublicKey,
    pkcs8::EncodePublicKey as _,
    rand_core::OsRng,
    sha2::{Sha256, Sha512},
    signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _},
    traits::PublicKeyParts as _,
};

use crate::peer::{
    Client, Credential, KEYS, LABEL, NX, OTHER_RSA, RSA, Reply, UNIX_NOW, honest_reply, pin, pss, reply_with, spki_of,
};

const DAY: u64 = 86_400;

/// Function that returns the reply of a scripted server to a hello.
type Script = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// An invalid reply, and the error with which a client must refuse it.
struct Row {
    name: &'static str,
    /// Server keys that the client accepts.
    pin: PinPolicy,
    reply: Script,
    expected: E,
}

/// Creates a row whose client pins the key of [`KEYS`].
fn row(name: &'static str, expected: E, reply: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Row {
    Row {
        name,
        pin: pin(),
        reply: Box::new(reply),
        expected,
    }
}

/// Creates a row with a valid reply that `change` modifies.
fn changed(name: &'static str, expected: E, change: fn(&mut Vec<u8>)) -> Row {
    row(name, expected, move |hello| {
        let mut bytes = honest_reply(hello).bytes;
        change(&mut bytes);
        bytes
    })
}

/// Creates a row with a valid reply whose credential `change` modifies before it is signed.
fn credential(name: &'static str, expected: E, change: fn(&mut Credential)) -> Row {
    row(name, expected, move |hello| {
        let mut credential = Credential::honest();
        change(&mut credential);
        reply_with(NX, hello, |key| credential.encode(key)).bytes
    })
}

/// Makes the client of the row accept every server key, so that it does not refuse the key by its
/// fingerprint.
fn without_pin(mut row: Row) -> Row {
    row.pin = PinPolicy::FirstContact;
    row
}

#[test]
fn truncated_credential_is_malformed() {
    let now = Instant::now();
    let length = Credential::honest().encode(&[9; 32]).len();
    for cut in 1..length {
        let mut client = ClientHandshake::new("", pin()).unwrap();
        let reply = reply_with(NX, client.hello(), |_| {
            let mut credential = Credential::honest();
            credential.sign = |_, _| vec![1; 256];
            credential.encode(&[9; 32])[..cut].to_vec()
        });
        let refused = client.feed(now, UNIX_NOW, &reply.bytes);
        assert_eq!(refused.unwrap_err(), E::MalformedCredential, "{cut}");
    }
}

#[test]
fn credential_validity_allows_clocks_to_differ_by_a_day() {
    let now = Instant::now();
    let Credential {
        not_before, not_after, ..
    } = Credential::honest();
    for client_time in [not_before - DAY, not_before, not_after, not_after + DAY] {
        let mut client = ClientHandshake::new("", pin()).unwrap();
        let reply = honest_reply(client.hello());
        let progress = client.feed(now, client_time, &reply.bytes).unwrap();
        assert!(matches!(progress, ClientProgress::Done(_)), "{client_time}");
    }
}

#[test]
fn client_accepts_several_pins_and_reports_the_presented_key() {
    let now = Instant::now();
    let pins = PinPolicy::AnyOf(vec![Fingerprint::from([1; 32]), KEYS.fingerprint()]);
    for policy in [pins, PinPolicy::FirstContact] {
        let mut client = ClientHandshake::new("", policy).unwrap();
        let Reply { bytes, .. } = honest_reply(client.hello());
        let ClientProgress::Done(connected) = client.feed(now, UNIX_NOW, &bytes).unwrap() else {
            panic!("the reply is complete");
        };
        assert_eq!(connected.fingerprint, KEYS.fingerprint());
    }
    let mut client = ClientHandshake::new("", PinPolicy::AnyOf(Vec::new())).unwrap();
    let reply = honest_reply(client.hello());
    let refused = client.feed(now, UNIX_NOW, &reply.bytes);
    assert!(
        matches!(refused, Err(E::PinMismatch { .. })),
        "an empty pin list accepts no key"
    );
}

#[test]
fn rejects_are_reported_with_a_retry_delay_of_at_most_a_minute() {
    let now = Instant::now();
    let rejected = |bytes: &[u8]| {
        let mut client = ClientHandshake::new("", pin()).unwrap();
        match client.feed(now, UNIX_NOW, bytes).unwrap() {
            ClientProgress::Rejected { code, retry_after } => {
                assert_eq!(client.feed(now, UNIX_NOW, &[]).unwrap_err(), E::AlreadyEnded);
                (code, retry_after)
            }
            other => panic!("{other:?}"),
        }
    };
    let busy = rejected(&reject(RejectCode::Busy, Duration::from_millis(1500)));
    assert_eq!(busy, (RejectCode::Busy, Duration::from_millis(1500)));
    let forever = rejected(&[0, 7, 0, 0, 3, 255, 255, 255, 255]);
    assert_eq!(forever, (RejectCode::ShuttingDown, Duration::from_secs(60)));
    let unknown = rejected(&[0, 7, 0, 0, 77, 0, 0, 0, 0]);
    assert_eq!(unknown, (RejectCode::Other(77), Duration::ZERO));
}

#[test]
fn closed_connection_is_a_truncated_handshake() {
    let client = ClientHandshake::new("", pin()).unwrap();
    assert_eq!(client.end_of_stream(), E::Truncated);
}

#[test]
fn client_rejects_a_server_name_longer_than_64_bytes() {
    let refused = ClientHandshake::new(&"x".repeat(65), pin());
    assert_eq!(refused.unwrap_err(), E::NameTooLong(65));
}
