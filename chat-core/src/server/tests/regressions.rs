//! Tests with inputs and loads that have made other chat servers fail.

use super::*;
use crate::codec::client;

async fn garbage_closes_its_connection_with_a_close_code(link: EngineLink) {
    let frame = |length: u32, body: &[u8]| [&length.to_be_bytes()[..], body].concat();
    for (bytes, code) in [
        (frame(u32::MAX, b""), Some(CloseCode::PacketTooLarge)),
        (frame(4097, b""), Some(CloseCode::PacketTooLarge)),
        (frame(3, b"\xff\xff\xff"), Some(CloseCode::ProtocolError)),
        (frame(0, b""), Some(CloseCode::ProtocolError)),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(CloseCode::PacketTooLarge)),
    ] {
        let (server, mut stream) = raw(link, ServerConfig::default()).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(closed_with(&rest(&mut stream).await), code, "{bytes:?}");
        assert_eq!(server.stats().panics, 0);
    }
}

async fn slow_reader_gets_behind_push_and_blocks_no_sender(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.outbox_limits = crate::router::OutboxLimits {
        max_packets: 64,
        max_bytes: 64 * 1024,
    };
    // Bob reads nothing while Alice sends. On a busy machine that may take longer than the default
    // timeout, after which the server would disconnect Bob.
    config.write_timeout = Duration::from_secs(600);
    let site = Site::new(link, config).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    let text = "x".repeat(16 * 1024);
    for _ in 0..900 {
        alice.run(say("bob", &text)).await.unwrap();
    }
    let mut last = Seq::ZERO;
    let mut behind = None;
    while last < Seq(900) && behind < Some(Seq(900)) {
        match timeout(WAIT_TIMEOUT, bob.next_push()).await.unwrap().unwrap() {
            Push::Event(event) if event.kind == crate::model::EventKind::Message => last = event.seq,
            Push::Behind { last_seq, .. } => behind = Some(last_seq),
            _ => {}
        }
    }
    assert!(
        behind.is_some(),
        "no Behind push, although more was sent than sockets and outbox hold"
    );
}

/// Returns the encoded bytes of three requests of a guest.
fn guest_requests() -> Vec<u8> {
    let mut bytes = bytes::BytesMut::new();
    let hello = crate::codec::Hello {
        min_version: 1,
        max_version: 1,
        client: "test".into(),
    };
    for (id, kind) in [
        (1, RequestKind::Hello(hello)),
        (2, RequestKind::Ping),
        (3, RequestKind::Command(Command::ListDevices)),
    ] {
        client::encode_request(
            &crate::codec::Request {
                id: crate::codec::RequestId(id),
                kind,
            },
            &mut bytes,
        );
    }
    bytes.to_vec()
}

/// Sends these chunks one by one to a new server. Returns the request ids of the first three
/// replies, each with its error code or with `None` for success.
async fn answers(link: EngineLink, chunks: Vec<&[u8]>) -> Vec<(u64, Option<ReplyCode>)> {
    let (_server, mut stream) = raw(link, ServerConfig::default()).await;
    for chunk in chunks {
        stream.write_all(chunk).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut decoder = crate::codec::frame::FrameDecoder::new(usize::MAX);
    let mut answers = Vec::new();
    let mut buffer = bytes::BytesMut::new();
    while answers.len() < 3 {
        let read = timeout(WAIT_TIMEOUT, stream.read_buf(&mut buffer))
            .await
            .expect("a reply arrives in time")
            .unwrap();
        assert!(read > 0, "the server does not close the connection");
        decoder.feed(buffer.split());
        while let Some(packet) = decoder.next_packet().unwrap() {
            let Incoming::Reply { request_id, result } = client::decode(packet).unwrap() else {
                continue;
            };
            answers.push((request_id.0, result.err().and_then(|failure| failure.code())));
        }
    }
    answers
}

async fn replies_do_not_depend_on_how_the_bytes_are_split(link: EngineLink) {
    let requests = guest_requests();
    let expected = vec![(1, None), (2, None), (3, Some(ReplyCode::NotLoggedIn))];
    assert_eq!(answers(link, vec![&requests]).await, expected);
    assert_eq!(answers(link, requests.chunks(1).collect()).await, expected);
    for cut in 1..requests.len() {
        let (one, other) = requests.split_at(cut);
        assert_eq!(answers(link, vec![one, other]).await, expected, "cut at {cut}");
    }
}

async fn texts_near_buffer_sizes_are_stored_even_from_a_peer_that_leaves(link: EngineLink) {
    let site = Site::new(link, ServerConfig::default()).await;
    let (mut alice, mut bob) = (site.user("alice").await, site.user("bob").await);
    befriend(&mut alice, &mut bob).await;
    let mut sent = 0;
    // Buffers usually have a power of two as their size.
    for power in 6..=14 {
        for size in [(1_usize << power) - 1, 1 << power, (1 << power) + 1] {
            if size <= MessageText::MAX_BYTES {
                let Outcome::Appended(appended) = alice.run(say("bob", &"x".repeat(size))).await.unwrap() else {
                    panic!("{size} bytes")
                };
                sent += 1;
                assert_eq!(appended.seq, Seq(sent));
            }
        }
    }
    // The sender of the last message disconnects at once, without waiting for the reply.
    alice
        .send(RequestKind::Command(say("bob", &"y".repeat(16 * 1024))))
        .await
        .unwrap();
    drop(alice);
    let stored = async {
        loop {
            let conversation = ConversationRef::Direct(named("alice"));
            let Outcome::Conversation(info) = bob.run(Command::GetConversation(conversation)).await.unwrap() else {
                panic!()
            };
            if info.last_seq == Seq(sent + 1) {
                break;
            }
        }
    };
    timeout(WAIT_TIMEOUT, stored)
        .await
        .expect("the message sent before disconnecting is stored");
}

async fn hundreds_of_clients_connect_and_leave_at_once(link: EngineLink) {
    const MANY: usize = 300;
    const USERS: usize = MANY / 15; // a user has at most 20 devices
    let mut config = ServerConfig::default();
    // On a busy machine the last logins take longer, and need more attempts, than the default
    // limits allow.
    config.session.login_timeout = WAIT_TIMEOUT;
    config.session.max_packets_before_login = 1000;
    let site = Arc::new(Site::new(link, config).await);
    for name in 0..USERS {
        drop(site.user(&format!("user-{name}")).await);
    }
    let mut logins = Vec::new();
    for n in 0..MANY {
        let site = Arc::clone(&site);
        logins.push(tokio::spawn(async move {
            let mut peer = site.peer().await;
            // Password checks take time: a login is rejected as busy while 64 others wait, or after
            // it has waited for 2 s. The client retries at a moderate pace.
            let mut pace = tokio::time::interval(Duration::from_millis(250));
            loop {
                pace.tick().await;
                match peer.login(&format!("user-{}", n % USERS)).await {
                    Ok(_) => break peer,
                    Err(busy) => assert!(busy.to_string().contains("Busy"), "{busy}"),
                }
            }
        }));
    }
    let mut peers = Vec::new();
    for peer in logins {
        peers.push(
            timeout(WAIT_TIMEOUT, peer)
                .await
                .expect("every login succeeds")
                .unwrap(),
        );
    }
    assert_eq!(site.engine.stats().router.sessions, MANY);
    drop(peers);
    let all_ended = async {
        while site.server.stats().connections > 0 || site.engine.stats().router.sessions > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT_TIMEOUT, all_ended)
        .await
        .expect("no session or connection is left after all clients have disconnected");
    assert_eq!(site.server.stats().panics, 0);
    let mut late = site.peer().await;
    late.login("user-0").await.unwrap();
}

on_each_engine_link! {
    #[tokio::test(start_paused = true)]
    garbage_closes_its_connection_with_a_close_code,
    #[tokio::test]
    slow_reader_gets_behind_push_and_blocks_no_sender,
    #[tokio::test(start_paused = true)]
    replies_do_not_depend_on_how_the_bytes_are_split,
    #[tokio::test]
    texts_near_buffer_sizes_are_stored_even_from_a_peer_that_leaves,
    #[tokio::test]
    hundreds_of_clients_connect_and_leave_at_once,
}
