//! Tests of a server whose store was restored from a copy, without the command `new-epoch` that
//! announces a restore to clients. Clients detect the restore by themselves, and send no additional
//! requests if no copy was restored.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chat_core::client::{
    Client, ClientEvent, ClientOptions, Credentials, Events, MemoryStore, SendOutcome, ServerAddress,
};
use chat_core::codec::RequestKind;
use chat_core::codec::frame::FrameDecoder;
use chat_core::codec::server::decode_request;
use chat_core::model::{
    Command, ConversationRef, DraftContent, EventBody, MessageText, Registration, Secret, Seq, UserName, UserRef,
};
use chat_core::testkit::PASSWORD;
use chat_harness::ServerProcess;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::PROGRAM;

/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Size of read buffers and maximum size of a packet, in bytes.
const MAX_BYTES: usize = 1 << 20;

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

/// Returns the direct conversation of Alice with herself.
fn notes() -> ConversationRef {
    ConversationRef::Direct(UserRef::Name(alice()))
}

fn password() -> Credentials {
    Credentials::Password {
        account: UserRef::Name(alice()),
        secret: Secret::new(PASSWORD),
        fresh: false,
    }
}

fn options(server: SocketAddr, credentials: Credentials) -> ClientOptions {
    let address: ServerAddress = format!("plain://{server}").parse().unwrap();
    ClientOptions::new([address], credentials)
}

/// Starts a server without encryption, so that [`RecordingProxy`] can read the requests.
fn start_server(data: &Path) -> ServerProcess {
    ServerProcess::start_on("plain", &PROGRAM, data, &[]).unwrap()
}

/// Sends these texts in order from a new device.
async fn send_texts(server: &ServerProcess, texts: &[&str]) {
    let client = Client::connect(options(server.address(), password()), MemoryStore::new());
    let client = client.await.unwrap();
    for text in texts {
        let text = MessageText::new(*text).unwrap();
        let mut sent = client.enqueue(notes(), DraftContent::text(text)).await.unwrap();
        assert!(matches!(sent.outcome().await.unwrap(), SendOutcome::Stored(_)));
    }
    client.close().await;
}

/// A proxy that records the requests of a client.
#[derive(Debug)]
struct RecordingProxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<RequestKind>>>,
}

impl RecordingProxy {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&recorded)));
            }
        });
        Self { address, requests }
    }

    /// Returns the recorded commands other than acknowledgements.
    fn commands(&self) -> Vec<RequestKind> {
        let requests = self.requests.lock().unwrap();
        assert!(!requests.is_empty(), "no request passed the proxy");
        let commands = requests.iter().filter(|kind| match kind {
            RequestKind::Command(command) => !matches!(command, Command::Acknowledge { .. }),
            _ => false,
        });
        commands.cloned().collect()
    }
}

async fn forward(client: TcpStream, server: TcpStream, requests: Arc<Mutex<Vec<RequestKind>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let forward_requests = async {
        let (mut frames, mut buffer) = (FrameDecoder::new(MAX_BYTES), vec![0; MAX_BYTES]);
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            frames.buffer().extend_from_slice(&buffer[..read]);
            while let Some(packet) = frames.next_packet().unwrap() {
                requests
                    .lock()
                    .unwrap()
                    .push(decode_request(packet, MAX_BYTES).unwrap().kind);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let forward_replies = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = forward_requests => {}
        _ = forward_replies => {}
    }
}

/// Rewinds and messages that a client received until it had caught up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deliveries {
    /// Positions to which the client went back, because the log differs after them.
    rewound_to: Vec<u64>,
    /// Sequence number and text of each message.
    texts: Vec<(u64, String)>,
}

impl Deliveries {
    /// Receives and acknowledges all events until the client has caught up.
    async fn until_caught_up(events: &mut Events) -> Self {
        let mut deliveries = Self::default();
        loop {
            let received = tokio::time::timeout(WAIT_TIMEOUT, events.next())
                .await
                .unwrap()
                .unwrap();
            match &received.event {
                ClientEvent::Rewound { to: Seq(to), .. } => deliveries.rewound_to.push(*to),
                ClientEvent::Event(delivery) => {
                    if let EventBody::Message(message) = &delivery.body {
                        deliveries.texts.push((delivery.seq().0, message.text.clone()));
                    }
                }
                ClientEvent::CaughtUp => return deliveries,
                ClientEvent::StoreReplaced | ClientEvent::Ended(_) => panic!("{:?}", received.event),
                _ => {}
            }
            received.done();
        }
    }

    /// Runs a client that keeps its state in `profile` until it has caught up. Returns what it
    /// received.
    async fn of_run(server: SocketAddr, profile: &Arc<MemoryStore>) -> Self {
        let client = Client::connect(options(server, password()), Arc::clone(profile))
            .await
            .unwrap();
        let deliveries = Self::until_caught_up(&mut client.events().unwrap()).await;
        client.close().await;
        deliveries
    }
}

fn numbered(texts: &[(u64, &str)]) -> Vec<(u64, String)> {
    texts.iter().map(|(seq, text)| (*seq, (*text).to_owned())).collect()
}

/// Stops a server and waits until it has drained.
async fn drain(mut server: ServerProcess) {
    server.signal("TERM").unwrap();
    assert_eq!(server.wait().unwrap(), Some(0));
}

/// Copies the files of the store. Removes the note about the last opening, so that the server does
/// not notice the copy, as after an update from a release that wrote no note.
fn copy_store(from: &Path, to: &Path) {
    let _ = fs::remove_file(to.join("chat.db-opening"));
    for name in ["chat.db", "chat.db-wal", "chat.db-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn restored_store_is_reported_and_read_once() {
    let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let profile = Arc::new(MemoryStore::new());
    let first = start_server(data.path());
    let registration = Registration::new(alice(), Secret::new(PASSWORD));
    let registering = options(first.address(), Credentials::Register(registration));
    Client::connect(registering, MemoryStore::new())
        .await
        .unwrap()
        .close()
        .await;
    send_texts(&first, &["one", "two", "three"]).await;
    let deliveries = Deliveries::of_run(first.address(), &profile).await;
    assert_eq!(deliveries.texts, numbered(&[(1, "one"), (2, "two"), (3, "three")]));
    drain(first).await;
    copy_store(data.path(), copy.path());

    let second = start_server(data.path());
    send_texts(&second, &["four", "five"]).await;
    let deliveries = Deliveries::of_run(second.address(), &profile).await;
    assert_eq!(deliveries.texts, numbered(&[(4, "four"), (5, "five")]));
    drain(second).await;

    // The copy is restored, and another device sends messages before this device returns.
    copy_store(copy.path(), data.path());
    let third = start_server(data.path());
    send_texts(&third, &["another four", "another five", "another six"]).await;
    let deliveries = Deliveries::of_run(third.address(), &profile).await;
    let rewritten = [(4, "another four"), (5, "another five"), (6, "another six")];
    let expected = Deliveries {
        rewound_to: vec![3],
        texts: numbered(&rewritten),
    };
    assert_eq!(deliveries, expected);

    // Without another restore, the client reads only new events.
    assert_eq!(
        Deliveries::of_run(third.address(), &profile).await,
        Deliveries::default()
    );
    send_texts(&third, &["seven"]).await;
    let deliveries = Deliveries::of_run(third.address(), &profile).await;
    let expected = Deliveries {
        rewound_to: Vec::new(),
        texts: numbered(&[(7, "seven")]),
    };
    assert_eq!(deliveries, expected);

    // The copy is restored again, and new messages extend its log exactly to the cursor of the
    // device.
    drain(third).await;
    copy_store(copy.path(), data.path());
    let fourth = start_server(data.path());
    send_texts(&fourth, &["4", "5", "6", "7"]).await;
    let deliveries = Deliveries::of_run(fourth.address(), &profile).await;
    let expected = Deliveries {
        rewound_to: vec![3],
        texts: numbered(&[(4, "4"), (5, "5"), (6, "6"), (7, "7")]),
    };
    assert_eq!(deliveries, expected);
    drain(fourth).await;
}

#[tokio::test]
async fn unchanged_log_is_not_read_again() {
    let data = tempfile::tempdir().unwrap();
    let profile = Arc::new(MemoryStore::new());
    let server = start_server(data.path());
    let registration = Registration::new(alice(), Secret::new(PASSWORD));
    let registering = options(server.address(), Credentials::Register(registration));
    Client::connect(registering, MemoryStore::new())
        .await
        .unwrap()
        .close()
        .await;
    send_texts(&server, &["one", "two"]).await;
    Deliveries::of_run(server.address(), &profile).await;

    // Without new events, the client reads nothing.
    let proxy = RecordingProxy::to(server.address()).await;
    assert_eq!(Deliveries::of_run(proxy.address, &profile).await, Deliveries::default());
    assert!(proxy.commands().is_empty(), "{proxy:?}");

    // With new events, the client reads one page.
    send_texts(&server, &["three"]).await;
    let proxy = RecordingProxy::to(server.address()).await;
    assert_eq!(
        Deliveries::of_run(proxy.address, &profile).await.texts,
        numbered(&[(3, "three")])
    );
    let commands = proxy.commands();
    let is_page = matches!(commands[..], [RequestKind::Command(Command::ReadHistory { .. })]);
    assert!(is_page, "{commands:?}");
    drain(server).await;
}
