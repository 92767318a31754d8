//! Fixture: server keys, and established secure channels.

use std::sync::Arc;
use std::time::Instant;

use chat_core::secure::{
    Channel, ClientHandshake, ClientProgress, PinPolicy, ServerHandshake, ServerIdentity, ServerKeys,
};

/// Time of the handshakes, in Unix seconds. The keys are created at this time, so their signed
/// credential is valid.
const UNIX_NOW: u64 = 1_790_000_000;

/// Generates the keys of a server.
#[must_use]
pub fn server_keys() -> Arc<ServerKeys> {
    let identity = ServerIdentity::generate(2048).expect("2048 bits are allowed");
    Arc::new(ServerKeys::new(identity, UNIX_NOW).expect("signing works"))
}

/// Returns both ends of an established channel: first that of the client, then that of the server.
#[must_use]
pub fn channels() -> (Channel, Channel) {
    let (keys, now) = (server_keys(), Instant::now());
    let mut client = ClientHandshake::new("bench", PinPolicy::exactly(keys.fingerprint())).expect("a valid name");
    let hello = ServerHandshake::new()
        .feed(client.hello())
        .expect("a valid hello")
        .expect("a complete hello");
    let accepted = hello.accept(&keys, now).expect("a valid client hello");
    match client
        .feed(now, UNIX_NOW, &accepted.reply)
        .expect("a valid server reply")
    {
        ClientProgress::Done(connected) => (connected.channel, accepted.channel),
        other => panic!("the reply of the server is complete, got {other:?}"),
    }
}
