//! Tests of nodes behind real load balancers (nginx, HAProxy) with the configurations of `deploy/`.

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
/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

fn as_array(addresses: Vec<SocketAddr>) -> [SocketAddr; 3] {
    addresses.try_into().unwrap()
}

async fn log_in(cluster: &Cluster, address: SocketAddr, name: &str) -> std::io::Result<Peer> {
    let mut peer = Peer::connect(address, cluster.fingerprint()).await?;
    peer.login(name).await?;
    Ok(peer)
}

/// Checks that clients are distributed over the nodes, and log in on another node after a node was
/// killed.
async fn check_balancing(cluster: &mut Cluster, balancer: &Balancer) {
    let address = balancer.address();
    let mut first = Peer::connect(address, cluster.fingerprint()).await.unwrap();
    first.register("alice").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(log_in(cluster, address, "alice").await.unwrap());
    }
    cluster.nodes[0].kill();
    let mut remaining = 0;
    for peer in &mut peers {
        remaining += u32::from(peer.ask(RequestKind::Ping).await.is_ok());
    }
    assert!(
        (1..9).contains(&remaining),
        "the clients are on several nodes: {remaining} of 9 are still connected"
    );
    let started = Instant::now();
    for _ in 0..6 {
        loop {
            match log_in(cluster, address, "alice").await {
                Ok(_) => break,
                Err(error) => assert!(started.elapsed() < WAIT_TIMEOUT, "no login succeeds: {error}"),
            }
        }
    }
    tokio::task::block_in_place(|| cluster.nodes[0].kill_and_restart()).unwrap();
    log_in(cluster, address, "alice").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_example_distributes_clients() {
    let mut cluster = Cluster::behind_balancer(&PROGRAM, 3).unwrap();
    let balancer = Balancer::nginx(NGINX, as_array(cluster.addresses())).unwrap();
    check_balancing(&mut cluster, &balancer).await;
    // A reload keeps existing sessions.
    let mut peer = log_in(&cluster, balancer.address(), "alice").await.unwrap();
    balancer.process().signal("HUP").unwrap();
    for _ in 0..20 {
        peer.ask(RequestKind::Ping).await.unwrap().unwrap();
        log_in(&cluster, balancer.address(), "alice").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_example_distributes_clients() {
    let mut cluster = Cluster::behind_balancer(&PROGRAM, 3).unwrap();
    let balancer = Balancer::haproxy(HAPROXY, as_array(cluster.addresses())).unwrap();
    check_balancing(&mut cluster, &balancer).await;
}

/// Returns the addresses of the nodes, not of the proxies in front of them.
fn node_addresses(cluster: &Cluster) -> [SocketAddr; 3] {
    as_array(cluster.nodes.iter().map(ServerProcess::address).collect())
}

/// Waits until a node listens, or no longer listens. Returns how long that took.
async fn until_listening_is(node: SocketAddr, expected: bool) -> Duration {
    let started = Instant::now();
    let listens = async {
        while tokio::net::TcpStream::connect(node).await.is_ok() != expected {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let in_time = timeout(WAIT_TIMEOUT, listens).await;
    assert!(in_time.is_ok(), "after {WAIT_TIMEOUT:?}, listening is not {expected}");
    started.elapsed()
}

/// Returns `true` if the store answers for this session. The connection must be open.
async fn is_served(peer: &mut Peer) -> bool {
    let reply = timeout(WAIT_TIMEOUT, peer.ask(RequestKind::Command(Command::ListDevices)));
    match reply.await.unwrap().expect("connections stay") {
        Ok(_) => true,
        Err(failure) => {
            assert_eq!(failure.code(), Some(ReplyCode::TryAgain), "{failure:?}");
            false
        }
    }
}

/// Returns the number of sessions that are served.
async fn count_served(peers: &mut [Peer]) -> usize {
    let mut served = 0;
    for peer in peers {
        served += usize::from(is_served(peer).await);
    }
    served
}

/// Checks that a node that cannot reach the database keeps its sessions, and that the load balancer
/// sends it no new clients until it has recovered.
async fn check_avoidance(cluster: &mut Cluster, balancer: &Balancer) {
    let address = balancer.address();
    let node = node_addresses(cluster)[0];
    // A user has at most twenty devices.
    let names = ["alice", "bob", "carol", "dave"];
    let mut first = Peer::connect(address, cluster.fingerprint()).await.unwrap();
    for name in names {
        first.register(name).await.unwrap();
    }
    let mut early = Vec::new();
    for name in names.iter().cycle().take(9) {
        early.push(log_in(cluster, address, name).await.unwrap());
    }
    assert_eq!(count_served(&mut early).await, 9);

    // From here on, all bytes between the node and the database are lost.
    cluster.links[0].database.set_both(Wire::dropping());
    let closed = until_listening_is(node, false).await;
    // HAProxy stops using the node after two failed checks, which are 2 s apart.
    sleep(Duration::from_secs(5)).await;
    let mut later = Vec::new();
    let mut slowest = Duration::ZERO;
    for name in names.iter().cycle().take(30) {
        let started = Instant::now();
        later.push(log_in(cluster, address, name).await.unwrap());
        slowest = slowest.max(started.elapsed());
    }
    println!("cut off: closed after {closed:.1?}, 30 logins, the slowest in {slowest:.1?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    assert_eq!(count_served(&mut later).await, 30);
    let remaining = count_served(&mut early).await;
    assert!(
        (1..9).contains(&remaining),
        "some sessions are on the node: {remaining} of 9 are served"
    );

    cluster.links[0].database.clear();
    let open = until_listening_is(node, true).await;
    let started = Instant::now();
    while count_served(&mut early).await < 9 {
        assert!(
            started.elapsed() < WAIT_TIMEOUT,
            "sessions of the node are not served again"
        );
    }
    println!("healed: open after {open:.1?}");
    // The node has the fewest sessions, so it gets the next session once the load balancer uses it
    // again: nginx 5 s after its last failure, HAProxy after one successful check, within 2 s.
    sleep(Duration::from_secs(6)).await;
    let mut latest = Vec::new();
    for name in names.iter().cycle().take(9) {
        latest.push(log_in(cluster, address, name).await.unwrap());
    }
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let mut on_recovered_node = 0;
    for peer in &mut latest {
        on_recovered_node += usize::from(peer.ask(RequestKind::Ping).await.is_ok());
    }
    assert!(on_recovered_node > 0, "no client was sent to the recovered node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_avoids_a_node_without_database() {
    let mut cluster = Cluster::linked_behind_balancer(&PROGRAM, 3).unwrap();
    let balancer = Balancer::nginx(NGINX, node_addresses(&cluster)).unwrap();
    check_avoidance(&mut cluster, &balancer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_avoids_a_node_without_database() {
    let mut cluster = Cluster::linked_behind_balancer(&PROGRAM, 3).unwrap();
    let balancer = Balancer::haproxy(HAPROXY, node_addresses(&cluster)).unwrap();
    check_avoidance(&mut cluster, &balancer).await;
}

/// If the database answers no node, no node refuses connections: clients receive TRY_AGAIN and stay
/// connected. The database is stopped with SIGSTOP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_answer_try_again_while_the_database_answers_none_of_them() {
    let cluster = Cluster::behind_balancer(&PROGRAM, 3).unwrap();
    let balancer = Balancer::nginx(NGINX, node_addresses(&cluster)).unwrap();
    let mut first = Peer::connect(balancer.address(), cluster.fingerprint()).await.unwrap();
    first.register("alice").await.unwrap();
    let mut early = Vec::new();
    for _ in 0..6 {
        early.push(log_in(&cluster, balancer.address(), "alice").await.unwrap());
    }
    cluster.database.process().signal("STOP").unwrap();
    let started = Instant::now();
    let mut try_again_count = 0;
    while started.elapsed() < Duration::from_secs(20) {
        for node in node_addresses(&cluster) {
            let connected = tokio::net::TcpStream::connect(node).await;
            assert!(connected.is_ok(), "after {:?}: {connected:?}", started.elapsed());
        }
        let error = log_in(&cluster, balancer.address(), "alice").await.err();
        let error = error.expect("the login is refused").to_string();
        assert!(error.contains("TryAgain"), "{error}");
        try_again_count += 1;
        sleep(Duration::from_millis(500)).await;
    }
    cluster.database.process().signal("CONT").unwrap();
    println!("the database did not answer for 20 s: {try_again_count} logins were answered TRY_AGAIN");
    let started = Instant::now();
    while count_served(&mut early).await < 6 {
        assert!(started.elapsed() < WAIT_TIMEOUT, "connections are not served again");
    }
    while log_in(&cluster, balancer.address(), "alice").await.is_err() {
        assert!(started.elapsed() < WAIT_TIMEOUT, "no login succeeds");
    }
}

/// Connects to a node that requires a PROXY protocol header, and sends only `bytes`. Returns what
/// the node sends until it closes the connection or sends nothing for [`WAIT_TIMEOUT`].
fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    // The server may close the connection before everything is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxy_port_requires_a_proxy_header_and_limits_the_source_that_it_names() {
    let cluster = Cluster::behind_balancer(&PROGRAM, 1).unwrap();
    let node = cluster.nodes[0].address();
    assert!(Peer::connect(node, cluster.fingerprint()).await.is_err(), "no header");
    tokio::task::block_in_place(|| {
        assert_eq!(answer(node, b"GET / HTTP/1.1\r\n\r\n"), b"");
        assert_eq!(answer(node, b"PROXY TCP4 x"), b"");
        let started = Instant::now();
        assert_eq!(
            answer(node, b""),
            b"",
            "the server closes the connection of a silent peer"
        );
        assert!(started.elapsed() < Duration::from_secs(5));
        // Limits apply to the source that the header names, so that one client behind the proxy
        // cannot take all connections that the server allows before login.
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
        assert!(
            closed.count() >= 20,
            "a source has at most 20 unauthenticated connections"
        );
    });
}
