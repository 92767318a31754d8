//! Each way to misbehave, seen from both sides.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;

/// Maximum time to wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time after which bytes that have not arrived are held back or lost.
const QUIET: Duration = Duration::from_millis(150);

/// A server, and a proxy before it.
struct Place {
    proxy: Proxy,
    server: TcpListener,
}

/// Two ends of one connection.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Place {
    async fn new() -> Self {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).unwrap();
        Self { proxy, server }
    }

    async fn connect(&self) -> Pair {
        let client = TcpStream::connect(self.proxy.address()).await.unwrap();
        let (server, _) = timeout(PATIENCE, self.server.accept()).await.unwrap().unwrap();
        Pair { client, server }
    }
}

async fn hears(stream: &mut TcpStream, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, expected);
}

async fn hears_nothing(stream: &mut TcpStream) {
    let heard = timeout(QUIET, stream.read(&mut [0; 1])).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn ends(stream: &mut TcpStream) {
    let end = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap(), 0);
}

async fn is_reset(stream: &mut TcpStream) {
    let end = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Bytes that are not all the same.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = SeededRng::new(7);
    (0..length).map(|_| rng.below(256) as u8).collect()
}

#[tokio::test]
async fn passes_everything_and_each_end_of_a_stream() {
    let place = Place::new().await;
    let Pair { mut client, mut server } = place.connect().await;
    let bytes = noise(3_000_000);
    let (sent, ()) = tokio::join!(client.write_all(&bytes), hears(&mut server, &bytes));
    sent.unwrap();
    client.shutdown().await.unwrap();
    ends(&mut server).await;
    // The other way is open still.
    server.write_all(b"goodbye").await.unwrap();
    hears(&mut client, b"goodbye").await;
    drop(server);
    ends(&mut client).await;
    assert_eq!(place.proxy.accepted(), 1);
}

#[tokio::test]
async fn what_is_slow_comes_late_and_in_order() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    let (latency, jitter) = (Duration::from_millis(60), Duration::from_millis(40));
    place.proxy.set(Wire::slow(latency, jitter), Wire::clear());
    let started = Instant::now();
    for byte in 0..50_u8 {
        pair.client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let all: Vec<u8> = (0..50).collect();
    hears(&mut pair.server, &all).await;
    assert!(started.elapsed() >= latency, "{:?}", started.elapsed());
}

#[tokio::test]
async fn one_way_is_slow_and_the_other_is_as_it_was() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    let hour = Wire::slow(Duration::from_secs(3600), Duration::ZERO);
    place.proxy.set(hour, Wire::clear());
    pair.client.write_all(b"slow").await.unwrap();
    pair.server.write_all(b"quick").await.unwrap();
    hears(&mut pair.client, b"quick").await;
    hears_nothing(&mut pair.server).await;
}

#[tokio::test]
async fn what_is_under_way_goes_by_the_rules_that_hold() {
    let hour = Duration::from_secs(3600);
    let jitter = Wire::slow(hour, hour);
    for late in [Wire::slow(hour, Duration::ZERO), jitter, Wire::narrow(number(1))] {
        let place = Place::new().await;
        let mut pair = place.connect().await;
        place.proxy.both(late);
        let bytes = noise(200);
        pair.client.write_all(&bytes).await.unwrap();
        hears_nothing(&mut pair.server).await;
        // Changed, and late still.
        place.proxy.both(Wire::slow(hour / 2, Duration::ZERO));
        hears_nothing(&mut pair.server).await;
        place.proxy.clear();
        hears(&mut pair.server, &bytes).await;
        pair.client.write_all(b"and on").await.unwrap();
        hears(&mut pair.server, b"and on").await;
    }
}

#[tokio::test]
#[should_panic(expected = "no wire is like this: loss 95%")]
async fn more_than_can_be_lost_is_refused() {
    Place::new().await.proxy.both(Wire::lossy(0.95));
}

#[tokio::test]
async fn what_a_proxy_does_can_be_seen() {
    let place = Place::new().await;
    let status = || Order::Status.carry_out(&place.proxy).unwrap();
    let clear = "up: clear; down: clear; ";
    let _kept = place.connect().await;
    assert_eq!(status(), format!("{clear}1 connections of 1 so far"));
    place.proxy.refuse().unwrap();
    place.proxy.forget();
    let expected = format!("{clear}1 connections of 1 so far, 1 of them forgotten; new ones are refused");
    let seen = async {
        while status() != expected {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    place.proxy.accept().unwrap();
    place.proxy.reset();
    let expected = format!("{clear}0 connections of 1 so far");
    let seen = async {
        while status() != expected {
            tokio::task::yield_now().await
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
}

#[tokio::test]
async fn a_narrow_wire_takes_its_time() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    place.proxy.both(Wire::narrow(number(100_000)));
    let bytes = noise(30_000);
    let started = Instant::now();
    let (sent, ()) = tokio::join!(pair.client.write_all(&bytes), hears(&mut pair.server, &bytes));
    sent.unwrap();
    assert!(
        started.elapsed() >= Duration::from_millis(290),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn slices_come_one_by_one() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    let sliced = Wire {
        slice: Some(number(3)),
        ..Wire::default()
    };
    place.proxy.both(sliced);
    let bytes = noise(100);
    let started = Instant::now();
    pair.client.write_all(&bytes).await.unwrap();
    hears(&mut pair.server, &bytes).await;
    assert!(
        started.elapsed() >= Duration::from_millis(33),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn lost_packets_are_late_and_nothing_is_missing() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    place.proxy.both(Wire::lossy(0.2));
    let bytes = noise(60_000);
    let started = Instant::now();
    let (sent, ()) = tokio::join!(pair.client.write_all(&bytes), hears(&mut pair.server, &bytes));
    sent.unwrap();
    assert!(
        started.elapsed() >= Duration::from_millis(200),
        "41 packets, of which none was lost"
    );
}

#[tokio::test]
async fn flipped_bits_are_few() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    let flipping = Wire {
        flips: 1.0,
        ..Wire::default()
    };
    place.proxy.set(flipping, Wire::clear());
    let bytes = noise(14_600);
    pair.client.write_all(&bytes).await.unwrap();
    let mut heard = vec![0; bytes.len()];
    pair.server.read_exact(&mut heard).await.unwrap();
    let wrong: u32 = bytes
        .iter()
        .zip(&heard)
        .map(|(sent, heard)| (sent ^ heard).count_ones())
        .sum();
    assert!(
        (10..=1000).contains(&wrong),
        "one in each packet of at most 1460 bytes: {wrong}"
    );
}

#[tokio::test]
async fn what_waits_arrives_later() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    place.proxy.set(Wire::waiting(), Wire::clear());
    pair.client.write_all(b"wait").await.unwrap();
    pair.server.write_all(b"one way passes").await.unwrap();
    hears(&mut pair.client, b"one way passes").await;
    hears_nothing(&mut pair.server).await;
    // Even the sender's end is heard of late, and behind everything else.
    drop(pair.client);
    hears_nothing(&mut pair.server).await;
    place.proxy.clear();
    hears(&mut pair.server, b"wait").await;
    ends(&mut pair.server).await;
}

#[tokio::test]
async fn who_lost_bytes_is_reset_and_who_lost_none_goes_on() {
    let place = Place::new().await;
    let (mut one, mut other) = (place.connect().await, place.connect().await);
    place.proxy.set(Wire::clear(), Wire::hole());
    one.server.write_all(b"into nowhere").await.unwrap();
    hears_nothing(&mut one.client).await;
    one.client.write_all(b"still heard").await.unwrap();
    hears(&mut one.server, b"still heard").await;
    place.proxy.clear();
    is_reset(&mut one.client).await;
    is_reset(&mut one.server).await;
    other.server.write_all(b"here").await.unwrap();
    hears(&mut other.client, b"here").await;
    other.client.write_all(b"there").await.unwrap();
    hears(&mut other.server, b"there").await;
}

#[tokio::test]
async fn an_end_that_nobody_hears_of() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    place.proxy.both(Wire::hole());
    drop(pair.client);
    hears_nothing(&mut pair.server).await;
    place.proxy.clear();
    is_reset(&mut pair.server).await;
}

#[tokio::test]
async fn connections_made_in_a_partition_lead_nowhere_until_it_ends() {
    let place = Place::new().await;
    for (up, down) in [
        (Wire::hole(), Wire::clear()),
        (Wire::clear(), Wire::hole()),
        (Wire::waiting(), Wire::waiting()),
    ] {
        place.proxy.set(up, down);
        let mut client = TcpStream::connect(place.proxy.address()).await.unwrap();
        client.write_all(b"anybody there?").await.unwrap();
        hears_nothing(&mut client).await;
        let reached = timeout(QUIET, place.server.accept()).await;
        assert!(reached.is_err(), "{reached:?}");
        place.proxy.clear();
        let (mut server, _) = timeout(PATIENCE, place.server.accept()).await.unwrap().unwrap();
        hears(&mut server, b"anybody there?").await;
    }
}

#[tokio::test]
async fn a_reset_is_for_those_there_are() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    pair.client.write_all(b"a").await.unwrap();
    hears(&mut pair.server, b"a").await;
    place.proxy.reset();
    is_reset(&mut pair.client).await;
    is_reset(&mut pair.server).await;
    let mut pair = place.connect().await;
    pair.client.write_all(b"b").await.unwrap();
    hears(&mut pair.server, b"b").await;
}

#[tokio::test]
async fn the_forgotten_hear_nothing_and_new_ones_are_served() {
    let place = Place::new().await;
    let mut forgotten = place.connect().await;
    place.proxy.forget();
    forgotten.client.write_all(b"still there?").await.unwrap();
    hears_nothing(&mut forgotten.server).await;
    let mut pair = place.connect().await;
    pair.client.write_all(b"new").await.unwrap();
    hears(&mut pair.server, b"new").await;
    drop(forgotten.server);
    hears_nothing(&mut forgotten.client).await;
    place.proxy.reset();
    is_reset(&mut forgotten.client).await;
}

#[tokio::test]
async fn a_peers_reset_is_passed_on() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    pair.server.write_all(b"a").await.unwrap();
    hears(&mut pair.client, b"a").await;
    pair.server.set_zero_linger().unwrap();
    drop(pair.server);
    is_reset(&mut pair.client).await;
}

#[tokio::test]
async fn who_is_refused_knows_it_and_the_others_go_on() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    for _ in 0..3 {
        place.proxy.refuse().unwrap();
        place.proxy.refuse().unwrap();
        let refused = TcpStream::connect(place.proxy.address()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        pair.client.write_all(b"on").await.unwrap();
        hears(&mut pair.server, b"on").await;
        place.proxy.accept().unwrap();
        place.connect().await;
    }
}

#[tokio::test]
async fn nobody_there_is_a_reset() {
    let Place { proxy, server } = Place::new().await;
    drop(server);
    // It may be told before it knows that it is connected.
    match TcpStream::connect(proxy.address()).await {
        Ok(mut client) => is_reset(&mut client).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn a_cut_is_exact() {
    let place = Place::new().await;
    let mut pair = place.connect().await;
    pair.client.write_all(b"before it counts").await.unwrap();
    hears(&mut pair.server, b"before it counts").await;
    place.proxy.set(Wire::cut(5), Wire::clear());
    let other = place.connect().await;
    for mut pair in [pair, other] {
        pair.client.write_all(b"123").await.unwrap();
        hears(&mut pair.server, b"123").await;
        pair.client.write_all(b"456").await.unwrap();
        hears(&mut pair.server, b"45").await;
        ends(&mut pair.server).await;
        ends(&mut pair.client).await;
    }
    place.proxy.clear();
    let mut pair = place.connect().await;
    pair.client.write_all(b"123456789").await.unwrap();
    hears(&mut pair.server, b"123456789").await;
}

#[tokio::test]
async fn its_end_is_the_end_of_all() {
    let Place { proxy, server } = Place::new().await;
    let address = proxy.address();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut served, _) = server.accept().await.unwrap();
    drop(proxy);
    ends(&mut client).await;
    ends(&mut served).await;
    let refused = TcpStream::connect(address).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
