//! Fuzz targets. Each function takes arbitrary bytes and fails by panicking.
//! `chat-core/tests/fuzz_inputs.rs` runs the same functions on stable Rust.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chat_core::codec::frame::{DEFAULT_MAX_PACKET_BYTES, FrameDecoder};
use chat_core::codec::{Failure, Hello, LoggedIn, Request, RequestId, RequestKind, body, client, server};
use chat_core::model::{
    Caller, Command, DeviceId, EventKind, Login, Outcome, ReplyCode, Secret, SessionEpoch, StoreEpoch, Timestamp,
    UserId, UserInfo, UserRef,
};
use chat_core::secure::{
    Channel, ClientHandshake, ClientProgress, Opened, PinPolicy, ServerHandshake, ServerIdentity, ServerKeys,
};
use chat_core::session::{Guest, GuestAction, Now, Session, SessionAction, SessionConfig};

/// Time of the handshakes, in seconds since 1970.
const UNIX_NOW: u64 = 1_790_000_000;
/// Maximum length of a message text, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Returns the keys of the server, which are generated once because that takes long.
fn keys() -> Arc<ServerKeys> {
    static KEYS: OnceLock<Arc<ServerKeys>> = OnceLock::new();
    Arc::clone(KEYS.get_or_init(|| {
        let identity = ServerIdentity::generate(2048).expect("2048 bits are allowed");
        Arc::new(ServerKeys::new(identity, UNIX_NOW).expect("signing works"))
    }))
}

/// Returns the channels of a client and a server that have completed a handshake.
fn channels() -> (Channel, Channel) {
    let (keys, now) = (keys(), Instant::now());
    let mut client = ClientHandshake::new("fuzz", PinPolicy::exactly(keys.fingerprint())).expect("a valid name");
    let hello = ServerHandshake::new()
        .feed(client.hello())
        .expect("a valid hello")
        .expect("a complete hello");
    let accepted = hello.accept(&keys, now).expect("a valid client hello");
    match client
        .feed(now, UNIX_NOW, &accepted.reply)
        .expect("a valid server reply")
    {
        ClientProgress::Done(connected) => (connected.channel, accepted.channel),
        other => panic!("the reply of the server is complete, got {other:?}"),
    }
}

/// Fuzzes records that are sealed correctly and then modified: the first three bytes of the input
/// choose the changed byte, its changed bits, and where the stream is split. Only content that was
/// sent may open, in the order of sending.
pub(crate) fn record(data: &[u8]) {
    let Some((&[position, flip, split], content)) = data.split_first_chunk::<3>() else {
        return;
    };
    let (mut client, mut server) = channels();
    let now = Instant::now();
    let mut wire = BytesMut::new();
    client.sealer().seal(now, content, &mut wire).expect("an open channel");
    let at = usize::from(position) % wire.len();
    wire[at] ^= flip;

    let rest = wire.split_off(usize::from(split) % (wire.len() + 1));
    let mut opened = Vec::new();
    for chunk in [wire, rest] {
        let mut input = chunk;
        while let Ok(Opened::Data(plain)) = server.opener().feed(now, &mut input) {
            opened.extend_from_slice(&plain);
        }
    }
    assert!(content.starts_with(&opened), "only sent content opens");
}

/// Fuzzes handshakes: arbitrary bytes at the server and at the client.
pub(crate) fn handshake(data: &[u8]) {
    let now = Instant::now();
    if let Ok(Some(hello)) = ServerHandshake::new().feed(data) {
        let _ = hello.accept(&keys(), now);
    }
    let mut client = ClientHandshake::new("fuzz", PinPolicy::exactly(keys().fingerprint())).expect("a valid name");
    if let Ok(ClientProgress::Done(_)) = client.feed(now, UNIX_NOW, data) {
        panic!("arbitrary bytes were accepted as the server");
    }
}

/// Fuzzes packets: decodes arbitrary bytes as the server and as the client do, from a stream and as
/// one packet, and as stored bodies of events. A decoded request must survive encoding and decoding
/// unchanged.
pub(crate) fn packet(data: &[u8]) {
    let mut decoder = FrameDecoder::new(DEFAULT_MAX_PACKET_BYTES);
    decoder.feed(BytesMut::from(data));
    while let Ok(Some(packet)) = decoder.next_packet() {
        decode_at_both_ends(packet);
    }
    decode_at_both_ends(Bytes::copy_from_slice(data));
    for kind in EventKind::ALL {
        let _ = body::decode(kind, &Bytes::copy_from_slice(data));
    }
}

fn decode_at_both_ends(packet: Bytes) {
    if let Ok(request) = server::decode_request(packet.clone(), MAX_TEXT_BYTES) {
        // Encoding and decoding the request again yields the same request.
        let mut encoded = BytesMut::new();
        client::encode_request(&request, &mut encoded);
        let mut decoder = FrameDecoder::new(usize::MAX);
        decoder.feed(encoded);
        let packet = decoder
            .next_packet()
            .expect("a valid length")
            .expect("a complete packet");
        let decoded = server::decode_request(packet, MAX_TEXT_BYTES).expect("an encoded request decodes");
        assert_eq!(format!("{request:?}"), format!("{decoded:?}"));
    }
    let _ = client::decode(packet);
}

/// Fuzzes the state machines of a guest and a session. The input is a script of valid and invalid
/// packets, of passing time and of completed commands. After the state machine has closed the
/// connection, it requests no further action. The number of unanswered requests never exceeds its
/// limit.
pub(crate) fn session_script(data: &[u8]) {
    let config = Arc::new(SessionConfig::default());
    let start = Instant::now();
    let mut script = Script {
        machine: Machine::Guest(Box::new(Guest::new(
            Arc::clone(&config),
            StoreEpoch([1; 16]),
            start,
            start,
        ))),
        config,
        now: Now {
            instant: start,
            time: Timestamp(0),
        },
        running: Vec::new(),
        has_ended: false,
    };
    let mut rest = data.iter().copied();
    while let Some(step) = rest.next() {
        let argument = rest.next().unwrap_or_default();
        match step % 8 {
            0 => script.send_packet(rest.by_ref().take(usize::from(argument)).collect()),
            1 => script.send_request(argument, hello()),
            2 => script.send_request(argument, login()),
            3 => script.send_request(argument, RequestKind::Ping),
            4 => script.send_request(argument, RequestKind::Command(Command::Logout)),
            5 => script.send_request(argument, RequestKind::Command(Command::ListDevices)),
            6 => script.advance_time(Duration::from_secs(u64::from(argument))),
            _ => script.complete_command(argument),
        }
        script.drain();
    }
}

/// State machine of the server for the peer that sends the packets of the script.
enum Machine {
    Guest(Box<Guest>),
    Session(Box<Session>),
    /// Placeholder while the script drains the actions of the guest, which may turn into a session,
    /// or of the session.
    Taken,
}

/// The server's state machine, and what the script has done with it.
struct Script {
    config: Arc<SessionConfig>,
    machine: Machine,
    now: Now,
    /// Commands that have started and not completed.
    running: Vec<RequestId>,
    /// True if the state machine has closed the connection.
    has_ended: bool,
}

impl Script {
    fn send_request(&mut self, id: u8, kind: RequestKind) {
        let mut frame = BytesMut::new();
        let id = RequestId(u64::from(id));
        client::encode_request(&Request { id, kind }, &mut frame);
        // The first four bytes are the length of the packet.
        self.send_packet(frame.freeze().slice(4..));
    }

    fn send_packet(&mut self, packet: Bytes) {
        match &mut self.machine {
            Machine::Guest(guest) if guest.wants_input() => guest.handle_packet(self.now, packet),
            Machine::Session(session) if session.wants_input() => {
                session.handle_packet(self.now, packet);
                assert!(session.in_flight() <= self.config.max_requests_in_flight);
            }
            _ => {}
        }
    }

    fn advance_time(&mut self, time: Duration) {
        self.now.instant += time;
        match &mut self.machine {
            Machine::Guest(guest) => guest.handle_timeout(self.now.instant),
            Machine::Session(session) => session.handle_timeout(self.now.instant),
            Machine::Taken => {}
        }
    }

    fn complete_command(&mut self, choice: u8) {
        let Machine::Session(session) = &mut self.machine else {
            return;
        };
        let Some(index) = usize::from(choice).checked_rem(self.running.len()) else {
            return;
        };
        let result = match choice % 16 {
            15 => Err(Failure::new(ReplyCode::Fenced, "")),
            14 => Err(Failure::new(ReplyCode::TryAgain, "").retry_after(100)),
            _ => Ok(Outcome::Done),
        };
        session.handle_outcome(self.now.instant, self.running.remove(index), result);
    }

    fn drain(&mut self) {
        match std::mem::replace(&mut self.machine, Machine::Taken) {
            Machine::Guest(guest) => self.machine = self.drain_guest(guest),
            Machine::Session(mut session) => {
                self.drain_session(&mut session);
                self.machine = Machine::Session(session);
            }
            Machine::Taken => {}
        }
    }

    fn drain_guest(&mut self, mut guest: Box<Guest>) -> Machine {
        while let Some(action) = guest.poll_action() {
            assert!(!self.has_ended, "no action follows the end");
            match action {
                GuestAction::Send(_) => {}
                GuestAction::ListNodes(ticket) => guest.handle_nodes(self.now.instant, ticket, Vec::new()),
                GuestAction::Register(ticket, _) => guest.handle_registered(self.now.instant, ticket, Ok(user())),
                GuestAction::Authenticate(ticket, _) => {
                    let mut session = guest.admit(self.now, ticket, caller(), logged_in());
                    self.drain_session(&mut session);
                    return Machine::Session(Box::new(session));
                }
                GuestAction::Close(_) => self.has_ended = true,
            }
        }
        Machine::Guest(guest)
    }

    fn drain_session(&mut self, session: &mut Session) {
        while let Some(action) = session.poll_action() {
            assert!(!self.has_ended, "no action follows the end");
            match action {
                SessionAction::Run(id, _) => self.running.push(id),
                SessionAction::Send(_) => {}
                SessionAction::Close(_) => self.has_ended = true,
            }
        }
    }
}

fn hello() -> RequestKind {
    RequestKind::Hello(Hello {
        min_version: 1,
        max_version: 1,
        client: "fuzz".into(),
    })
}

fn login() -> RequestKind {
    RequestKind::Login(Login::new(
        UserRef::Id(UserId(1)),
        Secret::new("correct horse"),
        DeviceId([1; 16]),
    ))
}

fn user() -> UserInfo {
    UserInfo::new(UserId(1), "alice")
}

fn caller() -> Caller {
    Caller::login(UserId(1), DeviceId([1; 16]), SessionEpoch(1))
}

fn logged_in() -> LoggedIn {
    LoggedIn {
        user: user(),
        session_token: None,
        device_token: None,
        store_epoch: StoreEpoch([1; 16]),
        conversations: Vec::new(),
        server_time: Timestamp(0),
        has_more: false,
    }
}
