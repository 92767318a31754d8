//! A copy restored without `new-epoch`: clients notice it themselves, and pay nothing while no copy
//! was restored.

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

/// Maximum time to wait for anything.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Read buffer, larger than a packet.
const LARGEST: usize = 1 << 20;

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

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

fn server(data: &Path) -> ServerProcess {
    ServerProcess::start_on("plain", &PROGRAM, data, &[]).unwrap()
}

/// Sends these texts in sequence from another device.
async fn say(server: &ServerProcess, texts: &[&str]) {
    let client = Client::connect(options(server.address(), password()), MemoryStore::new());
    let client = client.await.unwrap();
    for text in texts {
        let text = MessageText::new(*text).unwrap();
        let mut sent = client.enqueue(notes(), DraftContent::text(text)).await.unwrap();
        assert!(matches!(sent.outcome().await.unwrap(), SendOutcome::Acked(_)));
    }
    client.close().await;
}

/// A proxy that records the requests of a client.
#[derive(Debug)]
struct Tap {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<RequestKind>>>,
}

impl Tap {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(pass_on(client, server, Arc::clone(&note)));
            }
        });
        Self { address, asked }
    }

    /// Returns the requests after the login, without acknowledgements.
    fn readings(&self) -> Vec<RequestKind> {
        let asked = self.asked.lock().unwrap();
        assert!(!asked.is_empty(), "no request passed the proxy");
        let readings = asked.iter().filter(|kind| match kind {
            RequestKind::Command(command) => !matches!(command, Command::Acknowledge { .. }),
            _ => false,
        });
        readings.cloned().collect()
    }
}

async fn pass_on(client: TcpStream, server: TcpStream, asked: Arc<Mutex<Vec<RequestKind>>>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let (mut frames, mut piece) = (FrameDecoder::new(LARGEST), vec![0; LARGEST]);
        while let Ok(read @ 1..) = from_client.read(&mut piece).await {
            frames.buffer().extend_from_slice(&piece[..read]);
            while let Some(packet) = frames.next_packet().unwrap() {
                asked
                    .lock()
                    .unwrap()
                    .push(decode_request(packet, LARGEST).unwrap().kind);
            }
            if to_server.write_all(&piece[..read]).await.is_err() {
                return;
            }
        }
    };
    let back = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        () = there => {}
        _ = back => {}
    }
}

/// Events that a run of a client received.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deliveries {
    rewound_to: Vec<u64>,
    texts: Vec<(u64, String)>,
}

impl Deliveries {
    /// Receives and acknowledges all events until the client has caught up.
    async fn all(events: &mut Events) -> Self {
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
                ClientEvent::HistoryReset | ClientEvent::Ended(_) => panic!("{:?}", received.event),
                _ => {}
            }
            received.done();
        }
    }

    /// Runs the client from where the last run ended, and returns its events.
    async fn by(server: SocketAddr, profile: &Arc<MemoryStore>) -> Self {
        let client = Client::connect(options(server, password()), Arc::clone(profile))
            .await
            .unwrap();
        let deliveries = Self::all(&mut client.events().unwrap()).await;
        client.close().await;
        deliveries
    }
}

fn numbered(texts: &[(u64, &str)]) -> Vec<(u64, String)> {
    texts.iter().map(|(seq, text)| (*seq, (*text).to_owned())).collect()
}

async fn drained(mut server: ServerProcess) {
    server.signal("TERM").unwrap();
    assert_eq!(server.wait().unwrap(), Some(0));
}

fn copied(from: &Path, to: &Path) {
    for name in ["chat.db", "chat.db-wal", "chat.db-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn rewound_store_is_noticed_and_read_once() {
    let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let profile = Arc::new(MemoryStore::new());
    let first = server(data.path());
    let registration = Registration::new(alice(), Secret::new(PASSWORD));
    let registered = options(first.address(), Credentials::Register(registration));
    Client::connect(registered, MemoryStore::new())
        .await
        .unwrap()
        .close()
        .await;
    say(&first, &["one", "two", "three"]).await;
    let deliveries = Deliveries::by(first.address(), &profile).await;
    assert_eq!(deliveries.texts, numbered(&[(1, "one"), (2, "two"), (3, "three")]));
    drained(first).await;
    copied(data.path(), copy.path());

    let second = server(data.path());
    say(&second, &["four", "five"]).await;
    let deliveries = Deliveries::by(second.address(), &profile).await;
    assert_eq!(deliveries.texts, numbered(&[(4, "four"), (5, "five")]));
    drained(second).await;

    // The copy is restored, and other devices write before this one returns.
    copied(copy.path(), data.path());
    let third = server(data.path());
    say(&third, &["another four", "another five", "another six"]).await;
    let deliveries = Deliveries::by(third.address(), &profile).await;
    let rewritten = [(4, "another four"), (5, "another five"), (6, "another six")];
    let expected = Deliveries {
        rewound_to: vec![3],
        texts: numbered(&rewritten),
    };
    assert_eq!(deliveries, expected);

    // From here on the log is the same.
    assert_eq!(Deliveries::by(third.address(), &profile).await, Deliveries::default());
    say(&third, &["seven"]).await;
    let deliveries = Deliveries::by(third.address(), &profile).await;
    let expected = Deliveries {
        rewound_to: Vec::new(),
        texts: numbered(&[(7, "seven")]),
    };
    assert_eq!(deliveries, expected);

    // Once more, with a log that ends at the cursor of the device.
    drained(third).await;
    copied(copy.path(), data.path());
    let fourth = server(data.path());
    say(&fourth, &["4", "5", "6", "7"]).await;
    let deliveries = Deliveries::by(fourth.address(), &profile).await;
    let expected = Deliveries {
        rewound_to: vec![3],
        texts: numbered(&[(4, "4"), (5, "5"), (6, "6"), (7, "7")]),
    };
    assert_eq!(deliveries, expected);
    drained(fourth).await;
}

#[tokio::test]
async fn unchanged_log_is_not_read_again() {
    let data = tempfile::tempdir().unwrap();
    let profile = Arc::new(MemoryStore::new());
    let server = server(data.path());
    let registration = Registration::new(alice(), Secret::new(PASSWORD));
    let registered = options(server.address(), Credentials::Register(registration));
    Client::connect(registered, MemoryStore::new())
        .await
        .unwrap()
        .close()
        .await;
    say(&server, &["one", "two"]).await;
    Deliveries::by(server.address(), &profile).await;

    // Without new events there is no request.
    let tap = Tap::before(server.address()).await;
    assert_eq!(Deliveries::by(tap.address, &profile).await, Deliveries::default());
    assert!(tap.readings().is_empty(), "{tap:?}");

    // With new events there is one page.
    say(&server, &["three"]).await;
    let tap = Tap::before(server.address()).await;
    assert_eq!(
        Deliveries::by(tap.address, &profile).await.texts,
        numbered(&[(3, "three")])
    );
    let readings = tap.readings();
    let is_page = matches!(readings[..], [RequestKind::Command(Command::ReadHistory { .. })]);
    assert!(is_page, "{readings:?}");
    drained(server).await;
}
