//! Nodes behind real load balancers, which are set up as the examples show.

#![allow(clippy::unwrap_used)] // these are tests

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use chat_core::codec::RequestKind;
use chat_core::testkit::Peer;
use chat_harness::Cluster;
use chat_harness::services::Balancer;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chat-server");
const NGINX: &str = include_str!("../../deploy/nginx/chat.conf");
const HAPROXY: &str = include_str!("../../deploy/haproxy/haproxy.cfg");
/// Nothing takes so long; what waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn three(addresses: Vec<SocketAddr>) -> [SocketAddr; 3] {
    addresses.try_into().unwrap()
}

async fn logged_in(cluster: &Cluster, at: SocketAddr, name: &str) -> std::io::Result<Peer> {
    let mut peer = Peer::connect(at, cluster.fingerprint()).await?;
    peer.login(name).await?;
    Ok(peer)
}

/// Everybody gets in, over all nodes, and again elsewhere when a node dies.
async fn balances(cluster: &mut Cluster, balancer: &Balancer) {
    let at = balancer.address();
    let mut first = Peer::connect(at, cluster.fingerprint()).await.unwrap();
    first.register("alice").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(logged_in(cluster, at, "alice").await.unwrap());
    }
    cluster.nodes[0].kill().unwrap();
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
                Err(error) => assert!(started.elapsed() < PATIENCE, "nobody gets in: {error}"),
            }
        }
    }
    tokio::task::block_in_place(|| cluster.nodes[0].kill_and_restart()).unwrap();
    logged_in(cluster, at, "alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_as_in_the_example() {
    let mut cluster = Cluster::behind_proxy(Path::new(PROGRAM), 3).unwrap();
    let balancer = Balancer::nginx(NGINX, three(cluster.addresses())).unwrap();
    balances(&mut cluster, &balancer).await;
    // A reload leaves those who are in alone.
    let mut peer = logged_in(&cluster, balancer.address(), "alice").await.unwrap();
    balancer.process().signal("HUP").unwrap();
    for _ in 0..20 {
        peer.ask(RequestKind::Ping).await.unwrap().unwrap();
        logged_in(&cluster, balancer.address(), "alice").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_as_in_the_example() {
    let mut cluster = Cluster::behind_proxy(Path::new(PROGRAM), 3).unwrap();
    let balancer = Balancer::haproxy(HAPROXY, three(cluster.addresses())).unwrap();
    balances(&mut cluster, &balancer).await;
}

/// What a port behind a proxy answers to somebody who begins with `bytes`, and says nothing more.
fn answer(at: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed before all is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_behind_a_proxy_demands_its_word() {
    let cluster = Cluster::behind_proxy(Path::new(PROGRAM), 1).unwrap();
    let node = cluster.nodes[0].address();
    assert!(Peer::connect(node, cluster.fingerprint()).await.is_err(), "no header");
    tokio::task::block_in_place(|| {
        assert_eq!(answer(node, b"GET / HTTP/1.1\r\n\r\n"), b"");
        assert_eq!(answer(node, b"PROXY TCP4 x"), b"");
        let started = Instant::now();
        assert_eq!(answer(node, b""), b"", "silence is not waited for");
        assert!(started.elapsed() < Duration::from_secs(5));
        // Strangers behind the proxy have their own limits: one source may not hold all places of guests.
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
        assert!(closed.count() >= 20, "20 of one source at a time");
    });
}
