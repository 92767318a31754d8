//! Tests of configured rates on a running server.

use std::time::{Duration, Instant};

use chat_core::codec::{Incoming, RequestKind};
use chat_core::testkit::Peer;
use chat_harness::ServerProcess;

use super::support::PROGRAM;

/// Number of packets that a test sends before it reads the answers. Together they fit into the
/// buffers of a connection.
const CHUNK: u64 = 500;

/// Logs in at a new server with this packet rate. Returns the time in which it answers `packets`
/// packets.
async fn time_to_answer(packet_rate: &str, packets: u64) -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("CHAT_LIMITS__PACKET_RATE", packet_rate)];
    let server = ServerProcess::start(&PROGRAM, &directory.path().join("chat-data"), &settings).unwrap();
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    peer.register("alice").await.unwrap();
    peer.login("alice").await.unwrap();
    let started = Instant::now();
    let mut remaining = packets;
    while remaining > 0 {
        let count = remaining.min(CHUNK);
        remaining -= count;
        let last = peer.id_after(count - 1);
        peer.send_all((0..count).map(|_| RequestKind::Ping)).await.unwrap();
        while !matches!(peer.next().await.unwrap(), Incoming::Reply { request_id, .. } if request_id == last) {}
    }
    started.elapsed()
}

#[tokio::test]
async fn lowered_packet_rate_slows_a_connection_down() {
    // The first 10 packets are read at once, and the other 20 at 10 a second. At the default rate,
    // all 30 would be read at once.
    let elapsed = time_to_answer("10/1s burst 10", 30).await;
    assert!(elapsed >= Duration::from_millis(1900), "{elapsed:?}");
}

#[tokio::test]
async fn raised_packet_rate_does_not_slow_a_bot_down() {
    // At the default rate, the first 2,000 packets are read at once, and the others at 400 a
    // second, which takes 30 s. Without a wait, a second suffices; the limit leaves room for a
    // machine that is busy.
    let elapsed = time_to_answer("20000/1s", 14_000).await;
    assert!(elapsed < Duration::from_secs(15), "{elapsed:?}");
}
