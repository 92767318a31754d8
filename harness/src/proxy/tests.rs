//! Tests of the proxy: each impairment, as both sides of a connection observe it.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time after which bytes that have not arrived are assumed to be held back or lost.
const QUIET_TIME: Duration = Duration::from_millis(150);

/// A proxy, and the listener of the server that it forwards to.
struct TestProxy {
    proxy: Proxy,
    server: TcpListener,
}

/// Both ends of one connection through the proxy.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl TestProxy {
    async fn new() -> Self {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).unwrap();
        Self { proxy, server }
    }

    async fn connect(&self) -> Pair {
        let client = TcpStream::connect(self.proxy.address()).await.unwrap();
        let (server, _) = timeout(WAIT_TIMEOUT, self.server.accept()).await.unwrap().unwrap();
        Pair { client, server }
    }
}

async fn assert_receives(stream: &mut TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    timeout(WAIT_TIMEOUT, stream.read_exact(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(received, expected);
}

async fn assert_receives_nothing(stream: &mut TcpStream) {
    let received = timeout(QUIET_TIME, stream.read(&mut [0; 1])).await;
    assert!(received.is_err(), "{received:?}");
}

async fn assert_ends(stream: &mut TcpStream) {
    let end = timeout(WAIT_TIMEOUT, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap(), 0);
}

async fn assert_reset(stream: &mut TcpStream) {
    let end = timeout(WAIT_TIMEOUT, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Returns `length` pseudo-random bytes, the same ones in each call.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = SeededRng::new(7);
    (0..length).map(|_| rng.below(256) as u8).collect()
}

#[tokio::test]
async fn proxy_forwards_bytes_and_ends_of_both_streams() {
    let fixture = TestProxy::new().await;
    let Pair { mut client, mut server } = fixture.connect().await;
    let bytes = noise(3_000_000);
    let (sent, ()) = tokio::join!(client.write_all(&bytes), assert_receives(&mut server, &bytes));
    sent.unwrap();
    client.shutdown().await.unwrap();
    assert_ends(&mut server).await;
    // The other direction is still open.
    server.write_all(b"goodbye").await.unwrap();
    assert_receives(&mut client, b"goodbye").await;
    drop(server);
    assert_ends(&mut client).await;
    assert_eq!(fixture.proxy.accepted(), 1);
}

#[tokio::test]
async fn slow_wire_delays_bytes_and_keeps_their_order() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    let (latency, jitter) = (Duration::from_millis(60), Duration::from_millis(40));
    fixture.proxy.set(Wire::slow(latency, jitter), Wire::clear());
    let started = Instant::now();
    for byte in 0..50_u8 {
        pair.client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let all: Vec<u8> = (0..50).collect();
    assert_receives(&mut pair.server, &all).await;
    assert!(started.elapsed() >= latency, "{:?}", started.elapsed());
}

#[tokio::test]
async fn slow_wire_does_not_affect_the_other_direction() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    let very_slow = Wire::slow(Duration::from_secs(3600), Duration::ZERO);
    fixture.proxy.set(very_slow, Wire::clear());
    pair.client.write_all(b"slow").await.unwrap();
    pair.server.write_all(b"quick").await.unwrap();
    assert_receives(&mut pair.client, b"quick").await;
    assert_receives_nothing(&mut pair.server).await;
}

#[tokio::test]
async fn bytes_in_flight_follow_changed_rules() {
    let hour = Duration::from_secs(3600);
    let jittery = Wire::slow(hour, hour);
    for slow_wire in [Wire::slow(hour, Duration::ZERO), jittery, Wire::narrow(number(1))] {
        let fixture = TestProxy::new().await;
        let mut pair = fixture.connect().await;
        fixture.proxy.set_both(slow_wire);
        let bytes = noise(200);
        pair.client.write_all(&bytes).await.unwrap();
        assert_receives_nothing(&mut pair.server).await;
        // Under the changed rules, the bytes still arrive later than the test waits.
        fixture.proxy.set_both(Wire::slow(hour / 2, Duration::ZERO));
        assert_receives_nothing(&mut pair.server).await;
        fixture.proxy.clear();
        assert_receives(&mut pair.server, &bytes).await;
        pair.client.write_all(b"and on").await.unwrap();
        assert_receives(&mut pair.server, b"and on").await;
    }
}

#[tokio::test]
#[should_panic(expected = "a share or a time of this wire is out of range: loss 95%")]
async fn setting_a_wire_with_excessive_loss_panics() {
    TestProxy::new().await.proxy.set_both(Wire::lossy(0.95));
}

#[tokio::test]
async fn status_reports_numbers_of_connections_and_refusal() {
    let fixture = TestProxy::new().await;
    let status = || ProxyCommand::Status.execute(&fixture.proxy).unwrap();
    let clear = "up: clear; down: clear; ";
    let _open_connection = fixture.connect().await;
    assert_eq!(status(), format!("{clear}1 open connections, 1 accepted so far"));
    fixture.proxy.refuse().unwrap();
    fixture.proxy.forget();
    let expected = format!("{clear}1 open connections, 1 accepted so far, 1 forgotten; new connections are refused");
    let reported = async {
        while status() != expected {
            tokio::task::yield_now().await
        }
    };
    timeout(WAIT_TIMEOUT, reported).await.unwrap();
    fixture.proxy.accept().unwrap();
    fixture.proxy.reset();
    let expected = format!("{clear}0 open connections, 1 accepted so far");
    let reported = async {
        while status() != expected {
            tokio::task::yield_now().await
        }
    };
    timeout(WAIT_TIMEOUT, reported).await.unwrap();
}

#[tokio::test]
async fn narrow_wire_limits_bandwidth() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    fixture.proxy.set_both(Wire::narrow(number(100_000)));
    let bytes = noise(30_000);
    let started = Instant::now();
    let (sent, ()) = tokio::join!(pair.client.write_all(&bytes), assert_receives(&mut pair.server, &bytes));
    sent.unwrap();
    // 30 000 bytes take 300 ms; 10 ms are tolerance.
    assert!(
        started.elapsed() >= Duration::from_millis(290),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn sliced_wire_takes_a_millisecond_for_each_slice() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    let sliced = Wire {
        slice: Some(number(3)),
        ..Wire::default()
    };
    fixture.proxy.set_both(sliced);
    let bytes = noise(100);
    let started = Instant::now();
    pair.client.write_all(&bytes).await.unwrap();
    assert_receives(&mut pair.server, &bytes).await;
    // There are 34 slices, so 33 pauses between them.
    assert!(
        started.elapsed() >= Duration::from_millis(33),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn lossy_wire_delays_bytes_and_loses_none() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    fixture.proxy.set_both(Wire::lossy(0.2));
    let bytes = noise(60_000);
    let started = Instant::now();
    let (sent, ()) = tokio::join!(pair.client.write_all(&bytes), assert_receives(&mut pair.server, &bytes));
    sent.unwrap();
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "none of at least 42 packets was delayed"
    );
}

#[tokio::test]
async fn flipping_wire_flips_few_bits() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    let flipping = Wire {
        flips: 1.0,
        ..Wire::default()
    };
    fixture.proxy.set(flipping, Wire::clear());
    let bytes = noise(14_600);
    pair.client.write_all(&bytes).await.unwrap();
    let mut received = vec![0; bytes.len()];
    pair.server.read_exact(&mut received).await.unwrap();
    let wrong: u32 = bytes
        .iter()
        .zip(&received)
        .map(|(sent, received)| (sent ^ received).count_ones())
        .sum();
    // The bytes arrive in at least ten packets, because a packet has at most 1460 bytes. They may
    // arrive in smaller ones, but hardly in more than a thousand.
    assert!(
        (10..=1000).contains(&wrong),
        "{wrong} bits were flipped; expected one per packet of at most 1460 bytes"
    );
}

#[tokio::test]
async fn frozen_wire_delivers_bytes_after_it_is_cleared() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    fixture.proxy.set(Wire::frozen(), Wire::clear());
    pair.client.write_all(b"wait").await.unwrap();
    pair.server.write_all(b"one way passes").await.unwrap();
    assert_receives(&mut pair.client, b"one way passes").await;
    assert_receives_nothing(&mut pair.server).await;
    // The end of the stream is held back too, and arrives after all bytes.
    drop(pair.client);
    assert_receives_nothing(&mut pair.server).await;
    fixture.proxy.clear();
    assert_receives(&mut pair.server, b"wait").await;
    assert_ends(&mut pair.server).await;
}

#[tokio::test]
async fn connection_is_reset_only_if_it_lost_bytes() {
    let fixture = TestProxy::new().await;
    let (mut one, mut other) = (fixture.connect().await, fixture.connect().await);
    fixture.proxy.set(Wire::clear(), Wire::dropping());
    one.server.write_all(b"into nowhere").await.unwrap();
    assert_receives_nothing(&mut one.client).await;
    one.client.write_all(b"the other direction").await.unwrap();
    assert_receives(&mut one.server, b"the other direction").await;
    fixture.proxy.clear();
    assert_reset(&mut one.client).await;
    assert_reset(&mut one.server).await;
    other.server.write_all(b"here").await.unwrap();
    assert_receives(&mut other.client, b"here").await;
    other.client.write_all(b"there").await.unwrap();
    assert_receives(&mut other.server, b"there").await;
}

#[tokio::test]
async fn dropping_wire_loses_the_end_of_a_stream() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    fixture.proxy.set_both(Wire::dropping());
    drop(pair.client);
    assert_receives_nothing(&mut pair.server).await;
    fixture.proxy.clear();
    assert_reset(&mut pair.server).await;
}

#[tokio::test]
async fn connection_opened_during_a_partition_reaches_the_server_after_it() {
    let fixture = TestProxy::new().await;
    for (up, down) in [
        (Wire::dropping(), Wire::clear()),
        (Wire::clear(), Wire::dropping()),
        (Wire::frozen(), Wire::frozen()),
    ] {
        fixture.proxy.set(up, down);
        let mut client = TcpStream::connect(fixture.proxy.address()).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_receives_nothing(&mut client).await;
        let reached = timeout(QUIET_TIME, fixture.server.accept()).await;
        assert!(reached.is_err(), "{reached:?}");
        fixture.proxy.clear();
        let (mut server, _) = timeout(WAIT_TIMEOUT, fixture.server.accept()).await.unwrap().unwrap();
        assert_receives(&mut server, b"hello").await;
    }
}

#[tokio::test]
async fn reset_affects_open_connections_only() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    pair.client.write_all(b"a").await.unwrap();
    assert_receives(&mut pair.server, b"a").await;
    fixture.proxy.reset();
    assert_reset(&mut pair.client).await;
    assert_reset(&mut pair.server).await;
    let mut pair = fixture.connect().await;
    pair.client.write_all(b"b").await.unwrap();
    assert_receives(&mut pair.server, b"b").await;
}

#[tokio::test]
async fn forgotten_connections_receive_nothing_and_new_ones_are_served() {
    let fixture = TestProxy::new().await;
    let mut forgotten = fixture.connect().await;
    fixture.proxy.forget();
    forgotten.client.write_all(b"still there?").await.unwrap();
    assert_receives_nothing(&mut forgotten.server).await;
    let mut pair = fixture.connect().await;
    pair.client.write_all(b"new").await.unwrap();
    assert_receives(&mut pair.server, b"new").await;
    drop(forgotten.server);
    assert_receives_nothing(&mut forgotten.client).await;
    fixture.proxy.reset();
    assert_reset(&mut forgotten.client).await;
}

#[tokio::test]
async fn reset_by_the_server_is_forwarded() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    pair.server.write_all(b"a").await.unwrap();
    assert_receives(&mut pair.client, b"a").await;
    pair.server.set_zero_linger().unwrap();
    drop(pair.server);
    assert_reset(&mut pair.client).await;
}

#[tokio::test]
async fn refused_connections_fail_and_open_ones_continue() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    for _ in 0..3 {
        fixture.proxy.refuse().unwrap();
        fixture.proxy.refuse().unwrap();
        let refused = TcpStream::connect(fixture.proxy.address()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        pair.client.write_all(b"on").await.unwrap();
        assert_receives(&mut pair.server, b"on").await;
        fixture.proxy.accept().unwrap();
        fixture.connect().await;
    }
}

#[tokio::test]
async fn connection_to_an_absent_server_is_reset() {
    let TestProxy { proxy, server } = TestProxy::new().await;
    drop(server);
    // The reset may arrive before or after the connection is established.
    match TcpStream::connect(proxy.address()).await {
        Ok(mut client) => assert_reset(&mut client).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn cut_ends_a_connection_after_the_exact_number_of_bytes() {
    let fixture = TestProxy::new().await;
    let mut pair = fixture.connect().await;
    pair.client.write_all(b"before it counts").await.unwrap();
    assert_receives(&mut pair.server, b"before it counts").await;
    fixture.proxy.set(Wire::cut(5), Wire::clear());
    let other = fixture.connect().await;
    for mut pair in [pair, other] {
        pair.client.write_all(b"123").await.unwrap();
        assert_receives(&mut pair.server, b"123").await;
        pair.client.write_all(b"456").await.unwrap();
        assert_receives(&mut pair.server, b"45").await;
        assert_ends(&mut pair.server).await;
        assert_ends(&mut pair.client).await;
    }
    fixture.proxy.clear();
    let mut pair = fixture.connect().await;
    pair.client.write_all(b"123456789").await.unwrap();
    assert_receives(&mut pair.server, b"123456789").await;
}

#[tokio::test]
async fn dropped_proxy_ends_connections_and_refuses_new_ones() {
    let TestProxy { proxy, server } = TestProxy::new().await;
    let address = proxy.address();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut served, _) = server.accept().await.unwrap();
    drop(proxy);
    assert_ends(&mut client).await;
    assert_ends(&mut served).await;
    let refused = TcpStream::connect(address).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
