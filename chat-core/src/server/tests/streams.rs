//! Tests of streams that the application accepted itself.

use std::pin::pin;

use futures_util::{StreamExt as _, poll};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::*;
use crate::transport::pipe;
use crate::transport::{MessageStream, PeerAddr};

/// Starts a server without listeners, which serves only the streams that a test passes to it.
async fn server_without_listeners(link: EngineLink, config: ServerConfig) -> Server {
    let builder = Server::builder(link.service(&engine(link).await)).config(config);
    builder.bind().await.unwrap()
}

/// Registers Alice and Bob, makes them friends, sends 20 messages from Alice to Bob, and checks
/// that Bob receives them in order. Disconnects both.
async fn converse(mut alice: Peer, mut bob: Peer) {
    for (peer, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        peer.register(name).await.unwrap();
        peer.login(name).await.unwrap();
    }
    befriend(&mut alice, &mut bob).await;
    for _ in 0..20 {
        alice.run(say("bob", &"x".repeat(10_000))).await.unwrap();
    }
    assert_eq!(messages(&mut bob, 20).await, (1..=20).map(Seq).collect::<Vec<_>>());
}

async fn unix_sockets_and_duplex_streams_are_served(link: EngineLink) {
    let server = server_without_listeners(link, ServerConfig::default()).await;
    let (near, far) = UnixStream::pair().unwrap();
    let alice = tokio::spawn(server.serve_stream(far, PeerAddr::Local));
    let (other_near, other_far) = tokio::io::duplex(1024);
    let bob = tokio::spawn(server.serve_stream(other_far, "192.0.2.7:5000".parse::<SocketAddr>().unwrap().into()));
    let peers = (Peer::plain(near).await.unwrap(), Peer::plain(other_near).await.unwrap());
    assert_eq!(server.stats().connections, 2);
    converse(peers.0, peers.1).await;
    for serving in [alice, bob] {
        timeout(WAIT_TIMEOUT, serving).await.unwrap().unwrap();
    }
    assert_eq!(server.stats().connections, 0);
}

async fn sc1_streams_are_served(link: EngineLink) {
    let server = server_without_listeners(link, ServerConfig::default()).await;
    let keys = keys();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(16 * 1024);
        tokio::spawn(server.serve_sc1_stream(far, PeerAddr::Local, &keys));
        peers.push(Peer::sc1(near, keys.fingerprint()).await.unwrap());
    }
    let (bob, alice) = (peers.pop().unwrap(), peers.pop().unwrap());
    converse(alice, bob).await;
    assert_eq!(server.shared.rotated_keys.lock().len(), 1, "one task rotates the keys");
}

async fn message_streams_are_served(link: EngineLink) {
    let server = server_without_listeners(link, ServerConfig::default()).await;
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (near, far) = message_pipe();
        tokio::spawn(server.serve_stream(far, PeerAddr::Local));
        peers.push(Peer::plain(near).await.unwrap());
    }
    let (bob, alice) = (peers.pop().unwrap(), peers.pop().unwrap());
    converse(alice, bob).await;
}

/// Returns the two ends of a pipe that carries messages, as a WebSocket does.
fn message_pipe() -> (impl AsyncRead + AsyncWrite + Send, impl AsyncRead + AsyncWrite + Send) {
    let (to_far, from_near) = mpsc::channel(4);
    let (to_near, from_far) = mpsc::channel(4);
    (message_end(to_far, from_far), message_end(to_near, from_near))
}

/// Returns one end of a pipe that carries messages, as a byte stream.
fn message_end(
    sender: mpsc::Sender<bytes::Bytes>,
    receiver: mpsc::Receiver<bytes::Bytes>,
) -> impl AsyncRead + AsyncWrite + Send {
    let received = futures_util::stream::unfold(receiver, async |mut receiver| {
        let message = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(message), receiver))
    });
    let sent = futures_util::sink::unfold(sender, async |sender: mpsc::Sender<_>, message| {
        let sent = sender.send(message).await;
        sent.map(|()| sender).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    });
    tokio::io::join(MessageStream::new(received.boxed()), MessageStream::new(Box::pin(sent)))
}

async fn stream_beyond_a_limit_is_closed_at_once(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.max_connections = 1;
    let server = server_without_listeners(link, config).await;
    let (_near, far) = pipe();
    let mut served = pin!(server.serve_stream(far, PeerAddr::Local));
    assert!(poll!(served.as_mut()).is_pending());
    let (mut refused, far) = pipe();
    timeout(WAIT_TIMEOUT, server.serve_stream(far, PeerAddr::Local))
        .await
        .unwrap();
    assert_eq!(rest(&mut refused).await, b"");
}

async fn silent_stream_is_closed_as_timed_out(link: EngineLink) {
    let server = server_without_listeners(link, ServerConfig::default()).await;
    let (mut near, far) = pipe();
    let serving = tokio::spawn(server.serve_stream(far, PeerAddr::Local));
    assert_eq!(closed_with(&rest(&mut near).await), Some(CloseCode::Timeout));
    timeout(WAIT_TIMEOUT, serving).await.unwrap().unwrap();
}

async fn drain_closes_streams_and_refuses_later_ones(link: EngineLink) {
    let server = server_without_listeners(link, ServerConfig::default()).await;
    let (near, far) = UnixStream::pair().unwrap();
    let serving = tokio::spawn(server.serve_stream(far, PeerAddr::Local));
    let mut alice = Peer::plain(near).await.unwrap();
    alice.register("alice").await.unwrap();
    alice.login("alice").await.unwrap();
    let read = async {
        let mut last = None;
        while let Ok(push) = alice.next_push().await {
            last = Some(push);
        }
        last
    };
    let ((), last) = timeout(
        WAIT_TIMEOUT,
        futures_util::future::join(server.drain(WAIT_TIMEOUT), read),
    )
    .await
    .unwrap();
    assert_eq!(last, Some(Push::Closed(CloseCode::GoingAway)));
    serving.await.unwrap();
    let (mut late, far) = pipe();
    timeout(WAIT_TIMEOUT, server.serve_stream(far, PeerAddr::Local))
        .await
        .unwrap();
    assert_eq!(closed_with(&rest(&mut late).await), Some(CloseCode::GoingAway));
}

async fn dropped_future_closes_the_stream(link: EngineLink) {
    let server = server_without_listeners(link, ServerConfig::default()).await;
    let (mut near, far) = pipe();
    let mut serving = Box::pin(server.serve_stream(far, PeerAddr::Local));
    assert!(poll!(serving.as_mut()).is_pending());
    assert_eq!(server.stats().connections, 1);
    drop(serving);
    assert_eq!(rest(&mut near).await, b"");
    assert_eq!(server.stats().connections, 0);
}

/// An application may create the futures that serve streams, and poll them late, once or never.
async fn unpolled_futures_take_no_connection_and_drain_waits_only_its_grace_period(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.max_connections = 1;
    let server = server_without_listeners(link, config).await;
    let (_near, far) = pipe();
    let unpolled = server.serve_stream(far, PeerAddr::Local);
    let unpolled_sc1 = server.serve_sc1_stream(pipe().1, PeerAddr::Local, &keys());
    assert_eq!(server.stats().connections, 0);
    assert!(server.shared.rotated_keys.lock().is_empty());
    let (mut near, far) = pipe();
    let mut held = Box::pin(server.serve_stream(far, PeerAddr::Local));
    assert!(poll!(held.as_mut()).is_pending());
    assert_eq!(server.stats().connections, 1);
    let grace = Duration::from_secs(5);
    let began = tokio::time::Instant::now();
    timeout(WAIT_TIMEOUT, server.drain(grace)).await.unwrap();
    assert_eq!(began.elapsed(), grace);
    held.await;
    assert_eq!(rest(&mut near).await, b"");
    assert_eq!(server.stats().connections, 0);
    timeout(WAIT_TIMEOUT, server.drain(grace)).await.unwrap();
    drop((unpolled, unpolled_sc1));
}

on_each_engine_link! {
    #[tokio::test(start_paused = true)]
    unpolled_futures_take_no_connection_and_drain_waits_only_its_grace_period,
    #[tokio::test]
    unix_sockets_and_duplex_streams_are_served,
    #[tokio::test]
    sc1_streams_are_served,
    #[tokio::test]
    message_streams_are_served,
    #[tokio::test]
    stream_beyond_a_limit_is_closed_at_once,
    #[tokio::test(start_paused = true)]
    silent_stream_is_closed_as_timed_out,
    #[tokio::test]
    drain_closes_streams_and_refuses_later_ones,
    #[tokio::test]
    dropped_future_closes_the_stream,
}
