//! Tests of slow peers behind streams that buffer written bytes, as WebSockets and TLS do.

use bytes::{Buf as _, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::DuplexStream;

use super::*;
use crate::transport::MessageStream;

/// WebSocket as libraries implement it: it accepts every message, and writes when it is flushed.
struct WebSocket {
    socket: DuplexStream,
    unsent: BytesMut,
}

impl Stream for WebSocket {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut bytes = [0; 1024];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
        let message = Bytes::copy_from_slice(read.filled());
        Poll::Ready((!message.is_empty()).then_some(Ok(message)))
    }
}

impl Sink<Bytes> for WebSocket {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> io::Result<()> {
        self.unsent.extend_from_slice(&message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, unsent } = &mut *self;
        while !unsent.is_empty() {
            let written = ready!(Pin::new(&mut *socket).poll_write(cx, unsent))?;
            unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Returns a client whose user has 64 KiB of notes, behind a socket that holds 1 KiB.
async fn connect(server: &Server) -> RawClient {
    let (near, socket) = tokio::io::duplex(1024);
    let far = MessageStream::new(WebSocket {
        socket,
        unsent: BytesMut::new(),
    });
    tokio::spawn(server.serve_stream(far, PeerAddr::Local));
    let mut alice = RawClient::log_in(transport::Stream::new(near, PeerAddr::Local), "alice").await;
    for _ in 0..4 {
        let note = say("alice", &"x".repeat(16 * 1024));
        alice.ask(RequestKind::Command(note)).await.unwrap();
    }
    alice
}

async fn peer_behind_a_buffer_that_reads_slowly_gets_everything(link: EngineLink) {
    let (server, _connector) = server(link, ServerConfig::default()).await;
    let mut alice = connect(&server).await;
    let id = alice.send(RequestKind::Command(large_page())).await;
    let began = tokio::time::Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    loop {
        pace.tick().await;
        let mut some = [0; 1024];
        let read = alice.stream.read(&mut some).await.unwrap();
        assert!(read > 0, "closed after {:?}", began.elapsed());
        alice.frames.feed(some[..read].into());
        let next = alice.frames.next_packet().unwrap().map(client::decode);
        if let Some(Ok(Incoming::Reply { request_id, result })) = next {
            assert_eq!(request_id, id);
            assert!(matches!(result, Ok(Answer::Outcome(Outcome::History(_)))));
            break;
        }
    }
    // The page took longer than the write timeout of 30 s.
    assert!(began.elapsed() > Duration::from_secs(40), "{:?}", began.elapsed());
}

/// Replies that only reach the buffer do not count as progress.
async fn peer_behind_a_buffer_that_reads_nothing_is_closed(link: EngineLink) {
    let (server, _connector) = server(link, ServerConfig::default()).await;
    let mut alice = connect(&server).await;
    alice.send(RequestKind::Command(large_page())).await;
    let stuck = tokio::time::Instant::now();
    while server.stats().connections > 0 {
        assert!(
            stuck.elapsed() < Duration::from_secs(60),
            "the connection is not closed"
        );
        let mut ping = BytesMut::new();
        alice.encode(RequestKind::Ping, &mut ping);
        let _ = alice.stream.write_all(&ping).await; // the connection may be closed by now
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert!(stuck.elapsed() >= Duration::from_secs(30), "{:?}", stuck.elapsed());
}

on_each_engine_link! {
    #[tokio::test(start_paused = true)]
    peer_behind_a_buffer_that_reads_slowly_gets_everything,
    #[tokio::test(start_paused = true)]
    peer_behind_a_buffer_that_reads_nothing_is_closed,
}
