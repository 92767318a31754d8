//! Tests that need the inside of the channel: fixed secrets, counters, sizes. The rest is in `tests/secure/`.

mod limits;
mod sizes;
mod vectors;

use std::{
    sync::{LazyLock, OnceLock},
    time::Instant,
};

use super::{
    Channel, ClientHandshake, ClientProgress, PinPolicy, ServerHandshake, ServerIdentity,
    ServerKeys,
};

pub(super) const UNIX_NOW: u64 = 1_790_000_000;

/// The published vectors, whose RSA key also serves as the key of the other tests: making one takes seconds.
pub(super) static VECTORS: LazyLock<serde_json::Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/data/sc1_vectors.json")).unwrap()
});

pub(super) fn identity() -> ServerIdentity {
    ServerIdentity::from_pem(VECTORS["rsa_private_pkcs8_pem"].as_str().unwrap()).unwrap()
}

fn keys() -> &'static ServerKeys {
    static KEYS: OnceLock<ServerKeys> = OnceLock::new();
    KEYS.get_or_init(|| ServerKeys::new(identity(), UNIX_NOW).unwrap())
}

/// A client's and a server's end of one channel.
fn pair(now: Instant) -> (Channel, Channel) {
    let pin = PinPolicy::exactly(keys().fingerprint());
    let mut client = ClientHandshake::new("chat.example", pin).unwrap();
    let hello = ServerHandshake::new()
        .feed(client.hello())
        .unwrap()
        .unwrap();
    let accepted = hello.accept(keys(), now).unwrap();
    match client.feed(now, UNIX_NOW, &accepted.reply).unwrap() {
        ClientProgress::Done(connected) => (connected.channel, accepted.channel),
        other => panic!("{other:?}"),
    }
}
