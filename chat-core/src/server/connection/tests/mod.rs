//! Tests of one connection, from its first byte to its close.

#![allow(clippy::field_reassign_with_default)] // like embedders, who cannot write literals of non-exhaustive structs

mod buffering;
mod counted_stream;
mod ending;
mod output;

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
    ANY_PORT, EngineLink, WAIT_TIMEOUT, closed_with, engine, keys, named, on_each_engine_link, rest, say,
};
use crate::server::{Server, ServerConfig, accept};
use crate::testkit::PASSWORD;
use crate::transport::PeerAddr;
use crate::transport::{self, MemoryTransport};

/// A client over a pipe in memory, without encryption.
struct RawClient {
    stream: MemoryTransport,
    frames: FrameDecoder,
    last_id: u64,
}

impl RawClient {
    async fn log_in(stream: MemoryTransport, name: &str) -> Self {
        let mut client = Self {
            stream,
            frames: FrameDecoder::new(usize::MAX),
            last_id: 0,
        };
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            client: "raw".into(),
        };
        client.ask(RequestKind::Hello(hello)).await.unwrap();
        let secret = Secret::new(PASSWORD);
        let registration = Registration {
            name: UserName::parse(name).unwrap(),
            password: secret.clone(),
            display_name: None,
        };
        // A user who connects a second time has an account already.
        let _ = client.ask(RequestKind::Register(registration)).await;
        let login = Login {
            account: Some(named(name)),
            secret,
            device: DeviceId::random(),
            device_name: String::new(),
            device_token: None,
        };
        client.ask(RequestKind::Login(login)).await.unwrap();
        client
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
async fn server(link: EngineLink, config: ServerConfig) -> (Server, transport::MemoryConnector) {
    let (builder, connector) = Server::builder(link.service(&engine(link).await))
        .config(config)
        .memory();
    (builder.bind().await.unwrap(), connector)
}

#[tokio::test]
async fn connection_and_its_guest_stage_are_small() {
    let (server, _connector) = server(EngineLink::Direct, ServerConfig::default()).await;
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
    let serving = connection.serve_guest(now(), &mut permit);
    assert!(
        size_of_val(&serving) <= 2048,
        "guest stage: {} bytes",
        size_of_val(&serving)
    );
    drop(serving);
    assert!(
        size_of::<Connection<'_>>() <= 512,
        "state of the connection: {} bytes",
        size_of::<Connection<'_>>()
    );
}

async fn session_accepts_messages_up_to_the_maximum_size(link: EngineLink) {
    let (_server, connector) = server(link, ServerConfig::default()).await;
    let mut alice = RawClient::log_in(connector.connect().await.unwrap(), "alice").await;
    for (index, size) in [1, 100, 1000, 16 * 1024].into_iter().enumerate() {
        let Ok(Answer::Outcome(Outcome::Appended(appended))) =
            alice.ask(RequestKind::Command(say("alice", &"y".repeat(size)))).await
        else {
            panic!("{size} bytes");
        };
        assert_eq!(appended.seq, Seq(u64::try_from(index).unwrap() + 1));
    }
}

on_each_engine_link! {
    #[tokio::test]
    session_accepts_messages_up_to_the_maximum_size,
}

/// Returns the command that reads the newest notes of Alice to herself: up to 500, as far as they
/// fit the largest page of the server (`EngineConfig::max_page_bytes`, 256 KiB).
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
