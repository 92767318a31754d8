//! Scripted tests of the state machines, with a driver and a clock that the test controls.

mod guest;
mod logged_in;
mod random;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::codec::frame::{FrameDecoder, MAX_SERVER_PACKET_BYTES};
use crate::codec::{Answer, Failure, Hello, Incoming, LoggedIn, Request, RequestId, RequestKind, client};
use crate::model::*;

const EPOCH: StoreEpoch = StoreEpoch([0x5e; 16]);
const DEVICE: DeviceId = DeviceId([0xd0; 16]);

fn config() -> SessionConfig {
    SessionConfig {
        server_name: "test".to_owned(),
        ..SessionConfig::default()
    }
}

/// Clock that only the test advances.
struct Time {
    start: Instant,
    passed: Duration,
}

impl Time {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            passed: Duration::ZERO,
        }
    }

    /// Advances the clock by this number of seconds.
    fn pass(&mut self, seconds: f64) -> Now {
        self.passed += Duration::from_secs_f64(seconds);
        self.now()
    }

    fn now(&self) -> Now {
        Now {
            instant: self.start + self.passed,
            time: Timestamp(1_700_000_000_000 + self.passed.as_millis() as i64),
        }
    }
}

fn list_contacts() -> Command {
    Command::ListContacts {
        after: UserId(0),
        limit: 500,
    }
}

/// Encodes a request, without the length prefix of its frame.
fn packet(id: u64, kind: RequestKind) -> Bytes {
    let mut frame = BytesMut::new();
    let id = RequestId(id);
    client::encode_request(&Request { id, kind }, &mut frame);
    frame.freeze().slice(4..)
}

fn command(id: u64, command: Command) -> Bytes {
    packet(id, RequestKind::Command(command))
}

fn hello() -> RequestKind {
    RequestKind::Hello(Hello {
        min_version: 1,
        max_version: 1,
        client: "test".into(),
    })
}

/// Returns a hello whose name of the client is too long.
fn invalid_hello() -> RequestKind {
    RequestKind::Hello(Hello {
        min_version: 1,
        max_version: 1,
        client: "x".repeat(100),
    })
}

fn login() -> RequestKind {
    RequestKind::Login(Login {
        account: Some(UserRef::Id(UserId(1))),
        secret: Secret::new("correct horse"),
        device: DEVICE,
        device_name: "test".into(),
        device_token: None,
    })
}

fn alice() -> UserInfo {
    UserInfo {
        id: UserId(1),
        name: "alice".into(),
        display_name: String::new(),
        direct_policy: None,
    }
}

fn caller() -> Caller {
    Caller::login(UserId(1), DEVICE, SessionEpoch(1))
}

fn logged_in() -> LoggedIn {
    LoggedIn {
        user: alice(),
        session_token: None,
        device_token: None,
        store_epoch: EPOCH,
        conversations: Vec::new(),
        server_time: Timestamp(0),
        has_more: false,
    }
}

fn send(number: u8) -> Command {
    Command::Send {
        conversation: ConversationRef::Id(ConversationId(9)),
        draft: Draft::text(MessageText::new("hi").unwrap()).with_id(ClientMessageId([number; 16])),
    }
}

/// Decodes the packets in these frames.
fn read(frames: Bytes) -> Vec<Incoming> {
    let mut decoder = FrameDecoder::new(MAX_SERVER_PACKET_BYTES);
    decoder.feed(BytesMut::from(&frames[..]));
    std::iter::from_fn(|| decoder.next_packet().unwrap())
        .map(|packet| client::decode(packet).unwrap())
        .collect()
}

/// Returns the request id and the code (0 for success) of each reply, and of a close [`u64::MAX`]
/// and its code.
fn codes(frames: Bytes) -> Vec<(u64, u32)> {
    read(frames)
        .into_iter()
        .map(|incoming| match incoming {
            Incoming::Reply { request_id, result } => (request_id.0, result.map_or_else(|f| f.number(), |_| 0)),
            Incoming::Push(Push::Closed(code)) => (u64::MAX, u32::from(code.number())),
            other => panic!("neither a reply nor a close: {other:?}"),
        })
        .collect()
}

/// Returns a close with this code, in the form in which [`codes`] returns it.
fn closed(code: CloseCode) -> (u64, u32) {
    (u64::MAX, u32::from(code.number()))
}

fn code(code: ReplyCode) -> u32 {
    code.number()
}

/// Returns a guest whose `Hello` was answered.
fn greeted(config: SessionConfig, time: &Time) -> Guest {
    let now = time.now();
    let mut guest = Guest::new(Arc::new(config), EPOCH, now.instant, now.instant);
    guest.handle_packet(now, packet(1, hello()));
    assert!(matches!(guest.poll_action(), Some(GuestAction::Send(_))));
    guest
}

/// Returns a session whose login was answered.
fn admitted(config: SessionConfig, time: &Time) -> Session {
    let mut guest = greeted(config, time);
    guest.handle_packet(time.now(), packet(2, login()));
    let Some(GuestAction::Authenticate(ticket, _)) = guest.poll_action() else {
        panic!("no login");
    };
    let mut session = guest.admit(time.now(), ticket, caller(), logged_in());
    let Some(SessionAction::Send(frames)) = session.poll_action() else {
        panic!("no reply to the login");
    };
    assert_eq!(codes(frames), [(2, 0)]);
    session
}
