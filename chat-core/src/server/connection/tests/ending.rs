//! Tests of how a connection ends: because of silence, its age, an oversized packet, a panic, a
//! revoked device or a logout.

use super::*;

async fn silent_session_is_closed_and_pinging_session_is_not(link: EngineLink) {
    let (_server, connector) = server(link, ServerConfig::default()).await;
    let mut silent = RawClient::log_in(connector.connect().await.unwrap(), "silent").await;
    let mut pinging = RawClient::log_in(connector.connect().await.unwrap(), "pinging").await;
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        pinging.ask(RequestKind::Ping).await.unwrap();
    }
    assert_eq!(closed_with(&rest(&mut silent.stream).await), Some(CloseCode::Timeout));
    assert!(began.elapsed() < Duration::from_secs(130));
    pinging.ask(RequestKind::Ping).await.unwrap();
}

async fn old_connection_is_asked_to_reconnect_and_is_closed(link: EngineLink) {
    let mut config = ServerConfig::default();
    config.max_connection_age = Duration::from_secs(60);
    let (_server, connector) = server(link, config).await;
    let mut alice = RawClient::log_in(connector.connect().await.unwrap(), "alice").await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    alice.ask(RequestKind::Command(say("alice", "still"))).await.unwrap();
    let mut pushes = Vec::new();
    while let Some(incoming) = timeout(WAIT_TIMEOUT, alice.next()).await.unwrap() {
        if let Incoming::Push(push) = incoming {
            pushes.push(push);
        }
    }
    assert!(
        matches!(
            pushes[..],
            [.., Push::GoAway { .. }, Push::Closed(CloseCode::GoingAway)]
        ),
        "{pushes:?}"
    );
}

async fn peer_that_still_sends_receives_the_close_code(link: EngineLink) {
    let server = Server::builder(link.service(&engine(link).await))
        .plain(ANY_PORT)
        .bind()
        .await
        .unwrap();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.addresses()[0].1).await.unwrap();
        // The length prefix alone makes the server close the connection, with the rest unread in
        // its socket.
        let mut bytes = 5000_u32.to_be_bytes().to_vec();
        bytes.resize(100 * 1024, 0);
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        timeout(WAIT_TIMEOUT, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(closed_with(&answer), Some(CloseCode::PacketTooLarge));
    }
}

/// Stream that panics when it is read.
#[derive(Debug)]
struct Defective;

impl AsyncRead for Defective {
    fn poll_read(self: Pin<&mut Self>, _: &mut std::task::Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("a deliberate panic")
    }
}

impl AsyncWrite for Defective {
    fn poll_write(self: Pin<&mut Self>, _: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Defective {
    fn peer(&self) -> PeerAddr {
        PeerAddr::Memory(0)
    }
}

async fn panic_ends_one_connection_and_is_counted(link: EngineLink) {
    let (server, connector) = server(link, ServerConfig::default()).await;
    let mut alice = RawClient::log_in(connector.connect().await.unwrap(), "alice").await;
    accept::admit(Box::new(Defective), &Protocol::Plain, &server.shared);
    let counted = async {
        while server.stats().panics == 0 || server.stats().connections > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT_TIMEOUT, counted)
        .await
        .expect("the connection is counted as ended");
    alice.ask(RequestKind::Ping).await.unwrap();
}

async fn revoked_device_is_disconnected(link: EngineLink) {
    let (_server, connector) = server(link, ServerConfig::default()).await;
    let mut first = RawClient::log_in(connector.connect().await.unwrap(), "alice").await;
    let mut second = RawClient::log_in(connector.connect().await.unwrap(), "alice").await;
    let Ok(Answer::Outcome(Outcome::Devices(devices))) = second.ask(RequestKind::Command(Command::ListDevices)).await
    else {
        panic!("no list of devices");
    };
    let other = devices.iter().find(|device| !device.current).unwrap().id;
    second
        .ask(RequestKind::Command(Command::RevokeDevice(other)))
        .await
        .unwrap();
    let mut last = None;
    while let Some(incoming) = timeout(WAIT_TIMEOUT, first.next()).await.unwrap() {
        last = Some(incoming);
    }
    assert_eq!(last, Some(Incoming::Push(Push::Closed(CloseCode::Revoked))));
}

/// Returns the packets that a client receives after sending a command that ends its session, if the
/// server sees the closed outbox before the command's outcome.
async fn packets_after_ending_command(
    link: EngineLink,
    end: CloseCode,
    command: impl FnOnce(DeviceId) -> Command,
) -> Vec<Incoming> {
    let (server, _connector) = server(link, ServerConfig::default()).await;
    let (ours, theirs) = transport::pipe();
    let guard = server.shared.connections.register(u32::MAX).unwrap();
    let wire = Wire::new(Box::new(ours), crate::server::wire::Protection::Stream, 4096);
    let mut connection = Connection::new(wire, Source::Local, guard, &server.shared);
    let mut permit = server.shared.connection_gate.admit(now(), Source::Local).unwrap();
    let logged_in = std::cell::OnceCell::new();
    let serving = async {
        let established = connection.serve_guest(now(), &mut permit).await.unwrap();
        let device = established.session.caller().device().unwrap();
        logged_in.set((Arc::clone(&established.outbox), device)).unwrap();
        let end = connection.run(established).await;
        connection.end(end, &permit).await;
    };
    let asking = async {
        let mut alice = RawClient::log_in(theirs, "alice").await;
        let (outbox, device) = logged_in.get().unwrap();
        alice.send(RequestKind::Command(command(*device))).await;
        tokio::task::yield_now().await; // the connection starts the command
        outbox.close(end);
        let mut received = Vec::new();
        while let Some(incoming) = timeout(WAIT_TIMEOUT, alice.next()).await.unwrap() {
            received.push(incoming);
        }
        received
    };
    let (mut serving, mut asking) = (pin!(serving.fuse()), pin!(asking));
    poll_fn(|cx| {
        // Both futures are polled in turns, before the engine's task runs and can answer.
        for _ in 0..3 {
            let _ = serving.as_mut().poll(cx);
            if let Poll::Ready(received) = asking.as_mut().poll(cx) {
                return Poll::Ready(received);
            }
        }
        Poll::Pending
    })
    .await
}

async fn reply_to_the_command_that_ends_a_session_is_sent_first(link: EngineLink) {
    let received = [
        packets_after_ending_command(link, CloseCode::LoggedOut, |_| Command::Logout).await,
        packets_after_ending_command(link, CloseCode::Revoked, Command::RevokeDevice).await,
    ];
    for (received, code) in received.iter().zip([CloseCode::LoggedOut, CloseCode::Revoked]) {
        let [
            ..,
            Incoming::Reply { result, .. },
            Incoming::Push(Push::Closed(received_code)),
        ] = &received[..]
        else {
            panic!("{code:?}: {received:?}");
        };
        assert!(matches!(result, Ok(Answer::Outcome(Outcome::Done))), "{result:?}");
        assert_eq!(*received_code, code);
    }
}

async fn logout_is_answered_before_the_close_on_many_threads(link: EngineLink) {
    let (_server, connector) = server(link, ServerConfig::default()).await;
    for round in 0..100 {
        let mut alice = RawClient::log_in(connector.connect().await.unwrap(), "alice").await;
        let logout = alice.send(RequestKind::Command(Command::Logout)).await;
        alice.send(RequestKind::Ping).await; // wakes the connection while the logout runs
        let mut received = Vec::new();
        while let Some(incoming) = timeout(WAIT_TIMEOUT, alice.next()).await.unwrap() {
            received.push(incoming);
        }
        let answered = |incoming: &Incoming| matches!(incoming, Incoming::Reply { request_id, result: Ok(_) } if *request_id == logout);
        assert!(received.iter().any(answered), "round {round}: {received:?}");
        assert_eq!(
            received.last(),
            Some(&Incoming::Push(Push::Closed(CloseCode::LoggedOut)))
        );
    }
}

on_each_engine_link! {
    #[tokio::test(start_paused = true)]
    silent_session_is_closed_and_pinging_session_is_not,
    #[tokio::test(start_paused = true)]
    old_connection_is_asked_to_reconnect_and_is_closed,
    #[tokio::test]
    peer_that_still_sends_receives_the_close_code,
    #[tokio::test]
    panic_ends_one_connection_and_is_counted,
    #[tokio::test]
    revoked_device_is_disconnected,
    #[tokio::test]
    reply_to_the_command_that_ends_a_session_is_sent_first,
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    logout_is_answered_before_the_close_on_many_threads,
}
