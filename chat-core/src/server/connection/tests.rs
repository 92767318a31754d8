#![allow(clippy::field_reassign_with_default)] // embedders fill the non-exhaustive structs in the same way

mod buffering;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::*;
use crate::codec::frame::FrameDecoder;
use crate::codec::{Answer, Hello, Incoming, Request, RequestKind, client};
use crate::model::{
    Command, ConversationRef, DeviceId, Login, Outcome, Page, PageFrom, Push, Registration, Secret, Seq, UserName,
};
use crate::server::tests::{
    ANY_PORT, Boundary, WAIT_TIMEOUT, closed_with, engine, keys, named, on_each_boundary, rest, say,
};
use crate::server::{Server, ServerConfig, accept};
use crate::testkit::PASSWORD;
use crate::transport::PeerAddr;
use crate::transport::{self, MemoryTransport};

/// A client over a pipe that holds 64 KiB, to a server without encryption.
struct Raw {
    stream: MemoryTransport,
    frames: FrameDecoder,
    last_id: u64,
}

impl Raw {
    async fn log_in(stream: MemoryTransport, name: &str) -> Self {
        let mut raw = Self {
            stream,
            frames: FrameDecoder::new(usize::MAX),
            last_id: 0,
        };
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            client: "raw".into(),
        };
        raw.ask(RequestKind::Hello(hello)).await.unwrap();
        let secret = Secret::new(PASSWORD);
        let registration = Registration {
            name: UserName::parse(name).unwrap(),
            password: secret.clone(),
            display_name: None,
        };
        // A user who connects a second time has an account already.
        let _ = raw.ask(RequestKind::Register(registration)).await;
        let login = Login {
            account: Some(named(name)),
            secret,
            device: DeviceId::random(),
            device_name: String::new(),
            device_token: None,
        };
        raw.ask(RequestKind::Login(login)).await.unwrap();
        raw
    }

    fn encode(&mut self, kind: RequestKind, out: &mut BytesMut) -> RequestId {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        client::encode_request(&Request { id, kind }, out);
        id
    }

    async fn send(&mut self, kind: RequestKind) -> RequestId {
        let mut bytes = BytesMut::new();
        let id = self.encode(kind, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
        id
    }

    async fn next(&mut self) -> Option<Incoming> {
        loop {
            if let Some(packet) = self.frames.next_packet().unwrap() {
                return Some(client::decode(packet).unwrap());
            }
            if self.stream.read_buf(self.frames.buffer()).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn ask(&mut self, kind: RequestKind) -> Result<Answer, crate::codec::Failure> {
        let id = self.send(kind).await;
        loop {
            match self.next().await.expect("the server does not close the connection") {
                Incoming::Reply { request_id, result } if request_id == id => return result,
                _ => {}
            }
        }
    }
}

/// Returns a server with an unencrypted listener within the process, and its connector.
async fn server(boundary: Boundary, config: ServerConfig) -> (Server, transport::MemoryConnector) {
    let (builder, connector) = Server::builder(boundary.service(&engine(boundary).await))
        .config(config)
        .memory();
    (builder.bind().await.unwrap(), connector)
}

/// Counts the writes of the server to one client.
#[derive(Debug, Default)]
struct Writes {
    /// Number of writes that the stream accepted.
    count: AtomicUsize,
    /// Maximum number of bytes that the server has offered in one write, which are all pending
    /// output of the connection.
    largest: AtomicUsize,
}

impl Writes {
    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }
}

/// The server's end of a pipe, with its writes counted.
#[derive(Debug)]
struct CountedStream {
    inner: MemoryTransport,
    writes: Arc<Writes>,
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.largest.fetch_max(bytes.len(), Ordering::Relaxed);
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            self.writes.count.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Transport for CountedStream {
    fn peer(&self) -> PeerAddr {
        self.inner.peer()
    }
}

/// Connects to the server and counts what it writes to this connection.
fn connect_counted(server: &Server) -> (MemoryTransport, Arc<Writes>) {
    let (inner, client) = transport::pipe();
    let writes = Arc::new(Writes::default());
    let stream = CountedStream {
        inner,
        writes: Arc::clone(&writes),
    };
    accept::admit(Box::new(stream), &Protocol::Plain, &server.shared);
    (client, writes)
}

/// Returns a request for a page of about 250 KiB of the user's own notes.
fn large_page() -> Command {
    let page = Page {
        from: PageFrom::Newest,
        max_events: 500,
        max_bytes: u32::MAX,
    };
    Command::ReadHistory {
        conversation: ConversationRef::Direct(named("alice")),
        page,
    }
}

/// Logs in over `stream` as Alice, who has 20 notes of 16 KiB.
async fn with_large_history(stream: MemoryTransport) -> Raw {
    let mut alice = Raw::log_in(stream, "alice").await;
    for _ in 0..20 {
        alice
            .ask(RequestKind::Command(say("alice", &"x".repeat(16 * 1024))))
            .await
            .unwrap();
    }
    alice
}

async fn unread_output_is_bounded(boundary: Boundary) {
    let (server, connector) = server(boundary, ServerConfig::default()).await;
    let (stream, writes) = connect_counted(&server);
    let mut alice = with_large_history(stream).await;
    const PAGES: u64 = 300;
    let mut bytes = BytesMut::new();
    for _ in 0..PAGES {
        alice.encode(RequestKind::Command(large_page()), &mut bytes);
    }
    // All requests fit into the pipe, so only the server delays its replies.
    alice.stream.write_all(&bytes).await.unwrap();
    let mut bystander = Raw::log_in(connector.connect().await.unwrap(), "bystander").await;
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

/// The replies of one batch to one session are sent together, and the last reply is sent although
/// no other event follows it.
#[tokio::test]
async fn replies_of_one_batch_are_sent_in_few_writes() {
    let (server, _connector) = server(Boundary::Direct, ServerConfig::default()).await;
    let (stream, writes) = connect_counted(&server);
    let mut alice = Raw::log_in(stream, "alice").await;
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
async fn pushes_wait_in_the_outbox_until_the_peer_reads(boundary: Boundary) {
    let (server, _connector) = server(boundary, ServerConfig::default()).await;
    let (stream, writes) = connect_counted(&server);
    let (other, writes_to_other) = connect_counted(&server);
    let mut alice = Raw::log_in(stream, "alice").await;
    let mut other = Raw::log_in(other, "alice").await;
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

async fn peer_that_reads_nothing_is_closed_after_the_write_timeout(boundary: Boundary) {
    let (server, connector) = server(boundary, ServerConfig::default()).await;
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

async fn peer_that_reads_slowly_gets_everything(boundary: Boundary) {
    let (_server, connector) = server(boundary, ServerConfig::default()).await;
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

async fn silent_session_is_closed_and_pinging_session_is_not(boundary: Boundary) {
    let (_server, connector) = server(boundary, ServerConfig::default()).await;
    let mut silent = Raw::log_in(connector.connect().await.unwrap(), "silent").await;
    let mut pinging = Raw::log_in(connector.connect().await.unwrap(), "pinging").await;
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        pinging.ask(RequestKind::Ping).await.unwrap();
    }
    assert_eq!(closed_with(&rest(&mut silent.stream).await), Some(CloseCode::Timeout));
    assert!(began.elapsed() < Duration::from_secs(130));
    pinging.ask(RequestKind::Ping).await.unwrap();
}

async fn old_connection_is_asked_to_reconnect_after_its_replies(boundary: Boundary) {
    let mut config = ServerConfig::default();
    config.max_connection_age = Duration::from_secs(60);
    let (_server, connector) = server(boundary, config).await;
    let mut alice = Raw::log_in(connector.connect().await.unwrap(), "alice").await;
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

async fn peer_that_still_sends_receives_the_close_code(boundary: Boundary) {
    let server = Server::builder(boundary.service(&engine(boundary).await))
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

async fn panic_ends_one_connection_and_is_counted(boundary: Boundary) {
    let (server, connector) = server(boundary, ServerConfig::default()).await;
    let mut alice = Raw::log_in(connector.connect().await.unwrap(), "alice").await;
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

async fn revoked_device_is_disconnected(boundary: Boundary) {
    let (_server, connector) = server(boundary, ServerConfig::default()).await;
    let mut first = Raw::log_in(connector.connect().await.unwrap(), "alice").await;
    let mut second = Raw::log_in(connector.connect().await.unwrap(), "alice").await;
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

#[tokio::test]
async fn idle_connection_is_small() {
    let (server, _connector) = server(Boundary::Direct, ServerConfig::default()).await;
    let (ours, _theirs) = transport::pipe();
    let permit = server.shared.connection_gate.admit(now(), Source::Local).unwrap();
    let guard = server.shared.connections.register(u32::MAX).unwrap();
    let protocol = Protocol::Sc1(keys());
    let whole = serve(
        Box::new(ours),
        Source::Local,
        protocol,
        permit,
        guard,
        Arc::clone(&server.shared),
    );
    assert!(
        size_of_val(&whole) <= 1152,
        "task of the connection: {} bytes",
        size_of_val(&whole)
    );
    drop(whole);

    let (ours, _theirs) = transport::pipe();
    let wire = Wire::new(Box::new(ours), crate::server::wire::Protection::Stream, 4096);
    let guard = server.shared.connections.register(u32::MAX).unwrap();
    let mut connection = Connection::new(wire, Source::Local, guard, &server.shared);
    let mut permit = server.shared.connection_gate.admit(now(), Source::Local).unwrap();
    let greet = connection.greet(now(), &mut permit);
    assert!(
        size_of_val(&greet) <= 2048,
        "guest stage: {} bytes",
        size_of_val(&greet)
    );
    drop(greet);
    assert!(
        size_of::<Connection<'_>>() <= 512,
        "state of the connection: {} bytes",
        size_of::<Connection<'_>>()
    );
}

async fn session_accepts_messages_of_every_size(boundary: Boundary) {
    let (_server, connector) = server(boundary, ServerConfig::default()).await;
    let mut alice = Raw::log_in(connector.connect().await.unwrap(), "alice").await;
    for (index, size) in [1, 100, 1000, 16 * 1024].into_iter().enumerate() {
        let Ok(Answer::Outcome(Outcome::Appended(appended))) =
            alice.ask(RequestKind::Command(say("alice", &"y".repeat(size)))).await
        else {
            panic!("{size} bytes");
        };
        assert_eq!(appended.seq, Seq(u64::try_from(index).unwrap() + 1));
    }
}

/// Returns the packets that a client receives after sending a command that ends its session, if the
/// server sees the closed outbox before the command's outcome.
async fn packets_after_ending_command(
    boundary: Boundary,
    end: CloseCode,
    command: impl FnOnce(DeviceId) -> Command,
) -> Vec<Incoming> {
    let (server, _connector) = server(boundary, ServerConfig::default()).await;
    let (ours, theirs) = transport::pipe();
    let guard = server.shared.connections.register(u32::MAX).unwrap();
    let wire = Wire::new(Box::new(ours), crate::server::wire::Protection::Stream, 4096);
    let mut connection = Connection::new(wire, Source::Local, guard, &server.shared);
    let mut permit = server.shared.connection_gate.admit(now(), Source::Local).unwrap();
    let logged_in = std::cell::OnceCell::new();
    let serving = async {
        let established = connection.greet(now(), &mut permit).await.unwrap();
        let device = established.session.caller().device().unwrap();
        logged_in.set((Arc::clone(&established.outbox), device)).unwrap();
        let end = connection.run(established).await;
        connection.end(end, &permit).await;
    };
    let asking = async {
        let mut alice = Raw::log_in(theirs, "alice").await;
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

async fn reply_to_the_command_that_ends_a_session_is_sent_first(boundary: Boundary) {
    let received = [
        packets_after_ending_command(boundary, CloseCode::LoggedOut, |_| Command::Logout).await,
        packets_after_ending_command(boundary, CloseCode::Revoked, Command::RevokeDevice).await,
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

async fn logout_is_answered_before_the_close_on_many_threads(boundary: Boundary) {
    let (_server, connector) = server(boundary, ServerConfig::default()).await;
    for round in 0..100 {
        let mut alice = Raw::log_in(connector.connect().await.unwrap(), "alice").await;
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

on_each_boundary! {
    #[tokio::test]
    unread_output_is_bounded,
    #[tokio::test]
    pushes_wait_in_the_outbox_until_the_peer_reads,
    #[tokio::test(start_paused = true)]
    peer_that_reads_nothing_is_closed_after_the_write_timeout,
    #[tokio::test(start_paused = true)]
    peer_that_reads_slowly_gets_everything,
    #[tokio::test(start_paused = true)]
    silent_session_is_closed_and_pinging_session_is_not,
    #[tokio::test(start_paused = true)]
    old_connection_is_asked_to_reconnect_after_its_replies,
    #[tokio::test]
    peer_that_still_sends_receives_the_close_code,
    #[tokio::test]
    panic_ends_one_connection_and_is_counted,
    #[tokio::test]
    revoked_device_is_disconnected,
    #[tokio::test]
    session_accepts_messages_of_every_size,
    #[tokio::test]
    reply_to_the_command_that_ends_a_session_is_sent_first,
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    logout_is_answered_before_the_close_on_many_threads,
}
