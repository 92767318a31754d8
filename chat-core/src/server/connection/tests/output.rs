//! Tests of the output of a connection: its bound, the number of writes, and peers that read slowly
//! or not at all.

use super::counted_stream::connect_counted;
use super::*;

/// Logs in over `stream` as Alice, and sends 20 notes of 16 KiB to herself.
async fn with_large_history(stream: MemoryTransport) -> RawClient {
    let mut alice = RawClient::log_in(stream, "alice").await;
    for _ in 0..20 {
        alice
            .ask(RequestKind::Command(say("alice", &"x".repeat(16 * 1024))))
            .await
            .unwrap();
    }
    alice
}

async fn unread_output_is_bounded(link: EngineLink) {
    let (server, connector) = server(link, ServerConfig::default()).await;
    let (stream, writes) = connect_counted(&server);
    let mut alice = with_large_history(stream).await;
    const PAGES: u64 = 300;
    let mut bytes = BytesMut::new();
    for _ in 0..PAGES {
        alice.encode(RequestKind::Command(large_page()), &mut bytes);
    }
    // All requests fit into the pipe, so that Alice can send them without reading the replies.
    alice.stream.write_all(&bytes).await.unwrap();
    let mut bystander = RawClient::log_in(connector.connect().await.unwrap(), "bystander").await;
    // Meanwhile the server can answer as many of Alice's requests as it wants.
    for _ in 0..200 {
        bystander.ask(RequestKind::Ping).await.unwrap();
    }
    let largest = writes.largest();
    assert!(largest < 1024 * 1024, "{largest} bytes wait for one peer");

    let mut answered = 0;
    while answered < PAGES {
        let next = timeout(WAIT_TIMEOUT, alice.next()).await.unwrap().unwrap();
        if let Incoming::Reply { result, .. } = next {
            assert!(matches!(result, Ok(Answer::Outcome(Outcome::History(_)))), "{result:?}");
            answered += 1;
        }
    }
    let largest = writes.largest();
    assert!(largest < 1024 * 1024, "{largest} bytes waited for one peer");
}

/// The replies to messages that are stored together are sent together. The last reply is sent
/// although nothing else wakes the connection after it.
async fn replies_of_one_batch_are_sent_in_few_writes(link: EngineLink) {
    let (server, _connector) = server(link, ServerConfig::default()).await;
    let (stream, writes) = connect_counted(&server);
    let mut alice = RawClient::log_in(stream, "alice").await;
    alice.ask(RequestKind::Command(say("alice", "first"))).await.unwrap();
    let before = writes.count();
    const SENT: usize = 30;
    let mut bytes = BytesMut::new();
    for _ in 0..SENT {
        alice.encode(RequestKind::Command(say("alice", "more")), &mut bytes);
    }
    alice.stream.write_all(&bytes).await.unwrap();
    let (mut answered, mut pushed) = (0, 0);
    while answered < SENT || pushed < SENT {
        match timeout(WAIT_TIMEOUT, alice.next()).await.unwrap().unwrap() {
            Incoming::Reply { result, .. } => answered += usize::from(result.is_ok()),
            Incoming::Push(Push::Event(event)) => pushed += usize::from(event.seq > Seq(1)),
            _ => {}
        }
    }
    let count = writes.count() - before;
    assert!(
        count <= SENT / 3,
        "{count} writes for {SENT} answers and as many pushes"
    );
}

/// Pushes are drained from the outbox as the peer reads, a few records at a time, so the outbox
/// bounds them.
async fn pushes_wait_in_the_outbox_until_the_peer_reads(link: EngineLink) {
    let (server, _connector) = server(link, ServerConfig::default()).await;
    let (stream, writes) = connect_counted(&server);
    let (other, writes_to_other) = connect_counted(&server);
    let mut alice = RawClient::log_in(stream, "alice").await;
    let mut other = RawClient::log_in(other, "alice").await;
    for _ in 0..100 {
        let text = "x".repeat(4 * 1024);
        alice.ask(RequestKind::Command(say("alice", &text))).await.unwrap();
    }
    let largest = writes.largest().max(writes_to_other.largest());
    assert!(largest <= 48 * 1024, "{largest} bytes wait");
    let mut pushed = 0;
    while pushed < 10 {
        let next = timeout(WAIT_TIMEOUT, other.next()).await.unwrap().unwrap();
        pushed += usize::from(matches!(next, Incoming::Push(Push::Event(_))));
    }
}

async fn peer_that_reads_nothing_is_closed_after_the_write_timeout(link: EngineLink) {
    let (server, connector) = server(link, ServerConfig::default()).await;
    let mut alice = with_large_history(connector.connect().await.unwrap()).await;
    alice.send(RequestKind::Command(large_page())).await;
    let stuck = tokio::time::Instant::now();
    let gone = async {
        while server.stats().connections > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(40), gone)
        .await
        .expect("the server closes the blocked connection");
    assert!(
        stuck.elapsed() >= Duration::from_secs(30),
        "closed after only {:?}",
        stuck.elapsed()
    );
}

async fn peer_that_reads_slowly_gets_everything(link: EngineLink) {
    let (_server, connector) = server(link, ServerConfig::default()).await;
    let mut alice = with_large_history(connector.connect().await.unwrap()).await;
    let id = alice.send(RequestKind::Command(large_page())).await;
    let mut pace = tokio::time::interval(Duration::from_secs(5));
    let answer = loop {
        pace.tick().await;
        let mut some = [0; 32 * 1024];
        let read = alice.stream.read(&mut some).await.unwrap();
        assert!(read > 0, "the server does not close a slow connection");
        alice.frames.feed(some[..read].into());
        let next = alice.frames.next_packet().unwrap().map(client::decode);
        if let Some(Ok(Incoming::Reply { request_id, result })) = next {
            break (request_id, result);
        }
    };
    let (request_id, result) = answer;
    assert_eq!(request_id, id);
    assert!(matches!(result, Ok(Answer::Outcome(Outcome::History(_)))));
}

on_each_engine_link! {
    #[tokio::test]
    unread_output_is_bounded,
    #[tokio::test]
    replies_of_one_batch_are_sent_in_few_writes,
    #[tokio::test]
    pushes_wait_in_the_outbox_until_the_peer_reads,
    #[tokio::test(start_paused = true)]
    peer_that_reads_nothing_is_closed_after_the_write_timeout,
    #[tokio::test(start_paused = true)]
    peer_that_reads_slowly_gets_everything,
}
