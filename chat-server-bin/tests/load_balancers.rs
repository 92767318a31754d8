//! Nodes behind real load balancers with the configurations of `deploy/`.

#![allow(clippy::unwrap_used)] // these are tests

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chat_core::codec::RequestKind;
use chat_core::model::{Command, ReplyCode};
use chat_core::testkit::Peer;
use chat_harness::proxy::Wire;
use chat_harness::services::Balancer;
use chat_harness::{Cluster, ServerProcess};
use tokio::time::{sleep, timeout};

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| chat_harness::binary("chat-server", env!("CARGO_BIN_EXE_chat-server")));
const NGINX: &str = include_str!("../../deploy/nginx/chat.conf");
const HAPROXY: &str = include_str!("../../deploy/haproxy/haproxy.cfg");
/// Maximum time to wait for anything.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

fn three(addresses: Vec<SocketAddr>) -> [SocketAddr; 3] {
    addresses.try_into().unwrap()
}

async fn logged_in(cluster: &Cluster, at: SocketAddr, name: &str) -> std::io::Result<Peer> {
    let mut peer = Peer::connect(at, cluster.fingerprint()).await?;
    peer.login(name).await?;
    Ok(peer)
}

/// Checks that clients log in on all nodes, and on another node when theirs dies.
async fn balances(cluster: &mut Cluster, balancer: &Balancer) {
    let at = balancer.address();
    let mut first = Peer::connect(at, cluster.fingerprint()).await.unwrap();
    first.register("alice").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(logged_in(cluster, at, "alice").await.unwrap());
    }
    cluster.nodes[0].kill();
    let mut left = 0;
    for peer in &mut peers {
        left += u32::from(peer.ask(RequestKind::Ping).await.is_ok());
    }
    assert!((1..9).contains(&left), "spread over the nodes: {left} of 9 are left");
    let started = Instant::now();
    for _ in 0..6 {
        loop {
            match logged_in(cluster, at, "alice").await {
                Ok(_) => break,
                Err(error) => assert!(started.elapsed() < WAIT_TIMEOUT, "no login succeeds: {error}"),
            }
        }
    }
    tokio::task::block_in_place(|| cluster.nodes[0].kill_and_restart()).unwrap();
    logged_in(cluster, at, "alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_example_balances() {
    let mut cluster = Cluster::behind_proxy(&PROGRAM, 3).unwrap();
    let balancer = Balancer::nginx(NGINX, three(cluster.addresses())).unwrap();
    balances(&mut cluster, &balancer).await;
    // A reload keeps existing sessions.
    let mut peer = logged_in(&cluster, balancer.address(), "alice").await.unwrap();
    balancer.process().signal("HUP").unwrap();
    for _ in 0..20 {
        peer.ask(RequestKind::Ping).await.unwrap().unwrap();
        logged_in(&cluster, balancer.address(), "alice").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_example_balances() {
    let mut cluster = Cluster::behind_proxy(&PROGRAM, 3).unwrap();
    let balancer = Balancer::haproxy(HAPROXY, three(cluster.addresses())).unwrap();
    balances(&mut cluster, &balancer).await;
}

/// Addresses of the nodes themselves, without proxies in between.
fn nodes(cluster: &Cluster) -> [SocketAddr; 3] {
    three(cluster.nodes.iter().map(ServerProcess::address).collect())
}

/// Waits until a node listens, or until it no longer does.
async fn listens(node: SocketAddr, expected: bool) -> Duration {
    let started = Instant::now();
    let listens = async {
        while tokio::net::TcpStream::connect(node).await.is_ok() != expected {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = timeout(WAIT_TIMEOUT, listens).await;
    assert!(in_time.is_ok(), "the node listens: {}", !expected);
    started.elapsed()
}

/// Returns `true` if the store answers for this session. The connection must be open.
async fn is_served(peer: &mut Peer) -> bool {
    let asked = timeout(WAIT_TIMEOUT, peer.ask(RequestKind::Command(Command::ListDevices)));
    match asked.await.unwrap().expect("connections stay") {
        Ok(_) => true,
        Err(failure) => {
            assert_eq!(failure.code(), Some(ReplyCode::TryAgain), "{failure:?}");
            false
        }
    }
}

/// Returns the number of sessions that are served.
async fn served(peers: &mut [Peer]) -> usize {
    let mut served = 0;
    for peer in peers {
        served += usize::from(is_served(peer).await);
    }
    served
}

/// Checks that a node without the database keeps its sessions, and gets no new ones until it has
/// recovered.
async fn leaves_out(cluster: &mut Cluster, balancer: &Balancer) {
    let at = balancer.address();
    let node = nodes(cluster)[0];
    // A user has at most twenty devices.
    let names = ["alice", "bob", "carol", "dave"];
    let mut first = Peer::connect(at, cluster.fingerprint()).await.unwrap();
    for name in names {
        first.register(name).await.unwrap();
    }
    let mut there = Vec::new();
    for name in names.iter().cycle().take(9) {
        there.push(logged_in(cluster, at, name).await.unwrap());
    }
    assert_eq!(served(&mut there).await, 9);

    cluster.links[0].database.set_both(Wire::hole());
    let closed = listens(node, false).await;
    // HAProxy needs time to notice.
    sleep(Duration::from_secs(5)).await;
    let mut new = Vec::new();
    let mut slowest = Duration::ZERO;
    for name in names.iter().cycle().take(30) {
        let started = Instant::now();
        new.push(logged_in(cluster, at, name).await.unwrap());
        slowest = slowest.max(started.elapsed());
    }
    println!("cut off: closed after {closed:.1?}, 30 logins, the slowest in {slowest:.1?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    assert_eq!(served(&mut new).await, 30);
    let left = served(&mut there).await;
    assert!((1..9).contains(&left), "some are on the node: {left} of 9 are served");

    cluster.links[0].database.clear();
    let open = listens(node, true).await;
    let started = Instant::now();
    while served(&mut there).await < 9 {
        assert!(started.elapsed() < WAIT_TIMEOUT, "its sessions are served again");
    }
    println!("healed: open after {open:.1?}");
    // The node has the fewest sessions, so it gets the next one once the load balancer has checked
    // it.
    sleep(Duration::from_secs(6)).await;
    let mut latest = Vec::new();
    for name in names.iter().cycle().take(9) {
        latest.push(logged_in(cluster, at, name).await.unwrap());
    }
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let mut on_it = 0;
    for peer in &mut latest {
        on_it += usize::from(peer.ask(RequestKind::Ping).await.is_ok());
    }
    assert!(on_it > 0, "no client was sent to the recovered node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_avoids_a_node_without_database() {
    let mut cluster = Cluster::linked_behind_proxy(&PROGRAM, 3).unwrap();
    let balancer = Balancer::nginx(NGINX, nodes(&cluster)).unwrap();
    leaves_out(&mut cluster, &balancer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_avoids_a_node_without_database() {
    let mut cluster = Cluster::linked_behind_proxy(&PROGRAM, 3).unwrap();
    let balancer = Balancer::haproxy(HAPROXY, nodes(&cluster)).unwrap();
    leaves_out(&mut cluster, &balancer).await;
}

/// If the database itself is down, no node refuses connections: clients receive TRY_AGAIN and stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_answer_try_again_when_the_database_is_down() {
    let cluster = Cluster::behind_proxy(&PROGRAM, 3).unwrap();
    let balancer = Balancer::nginx(NGINX, nodes(&cluster)).unwrap();
    let mut first = Peer::connect(balancer.address(), cluster.fingerprint()).await.unwrap();
    first.register("alice").await.unwrap();
    let mut there = Vec::new();
    for _ in 0..6 {
        there.push(logged_in(&cluster, balancer.address(), "alice").await.unwrap());
    }
    cluster.database.process().signal("STOP").unwrap();
    let started = Instant::now();
    let mut try_again_count = 0;
    while started.elapsed() < Duration::from_secs(20) {
        for node in nodes(&cluster) {
            let connected = tokio::net::TcpStream::connect(node).await;
            assert!(connected.is_ok(), "after {:?}: {connected:?}", started.elapsed());
        }
        let error = logged_in(&cluster, balancer.address(), "alice").await.err();
        let error = error.expect("the login is refused").to_string();
        assert!(error.contains("TryAgain"), "{error}");
        try_again_count += 1;
        sleep(Duration::from_millis(500)).await;
    }
    cluster.database.process().signal("CONT").unwrap();
    println!("the database was away for 20 s: {try_again_count} logins were answered TRY_AGAIN");
    let started = Instant::now();
    while served(&mut there).await < 6 {
        assert!(
            started.elapsed() < WAIT_TIMEOUT,
            "connections stay and are served again"
        );
    }
    while logged_in(&cluster, balancer.address(), "alice").await.is_err() {
        assert!(started.elapsed() < WAIT_TIMEOUT, "no login succeeds");
    }
}

/// Returns the answer of a proxy port to a connection that sends only `bytes`.
fn answer(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    // The server may close before everything is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_port_requires_a_proxy_header() {
    let cluster = Cluster::behind_proxy(&PROGRAM, 1).unwrap();
    let node = cluster.nodes[0].address();
    assert!(Peer::connect(node, cluster.fingerprint()).await.is_err(), "no header");
    tokio::task::block_in_place(|| {
        assert_eq!(answer(node, b"GET / HTTP/1.1\r\n\r\n"), b"");
        assert_eq!(answer(node, b"PROXY TCP4 x"), b"");
        let started = Instant::now();
        assert_eq!(answer(node, b""), b"", "the server does not wait for a silent peer");
        assert!(started.elapsed() < Duration::from_secs(5));
        // Clients behind the proxy are limited by their own source, so that one source cannot take
        // all guest slots.
        let silent: Vec<TcpStream> = (0..40)
            .map(|_| {
                let mut stream = TcpStream::connect(node).unwrap();
                stream
                    .write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 7400\r\n")
                    .unwrap();
                stream
            })
            .collect();
        let closed = silent.iter().filter(|stream| {
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            matches!((&mut &**stream).read(&mut [0]), Ok(0))
        });
        assert!(closed.count() >= 20, "at most 20 of one source at a time");
    });
}
