//! Tests of a logout whose connection breaks before the server's reply, and of a logout after the
//! session has ended.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::{self, JoinHandle};

use bytes::BytesMut;
use chat_core::codec::{Answer, Failure, LoggedIn, Request, RequestKind, Welcome, frame, server, version};
use chat_core::model::{Command, MessageText, Outcome, ReplyCode, Secret, StoreEpoch, Timestamp, UserId, UserInfo};

use super::support::TestDevice;

/// What a server does in one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behavior {
    /// The server closes the connection when it receives a logout.
    CloseAtLogout,
    /// The server refuses to resume the session, because the session has expired.
    SessionExpired,
    /// The server accepts every request.
    AcceptAll,
}

/// Starts a server that handles one connection for each of `behaviors`, in this order. Returns its
/// thread, and a device that uses it.
fn serve(behaviors: &[Behavior], directory: &Path) -> (JoinHandle<()>, TestDevice) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let device = TestDevice {
        name: "alice".to_owned(),
        profile: directory.join("profile"),
        server: listener.local_addr().unwrap(),
    };
    let behaviors = behaviors.to_vec();
    let server = thread::spawn(move || {
        for behavior in behaviors {
            handle(listener.accept().unwrap().0, behavior);
        }
    });
    (server, device)
}

fn handle(mut stream: TcpStream, behavior: Behavior) {
    let mut frames = frame::FrameDecoder::new(frame::DEFAULT_MAX_PACKET_BYTES);
    let mut buffer = [0; 4096];
    loop {
        while let Some(packet) = frames.next_packet().unwrap() {
            let Request { id, kind } = server::decode_request(packet, MessageText::MAX_BYTES).unwrap();
            let is_logout = matches!(kind, RequestKind::Command(Command::Logout));
            if is_logout && behavior == Behavior::CloseAtLogout {
                return;
            }
            if id.wants_reply() {
                let mut reply = BytesMut::new();
                server::encode_reply(id, &answer(&kind, behavior), &mut reply);
                stream.write_all(&reply).unwrap();
            }
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => frames.feed(BytesMut::from(&buffer[..read])),
            _ => return,
        }
    }
}

fn answer(kind: &RequestKind, behavior: Behavior) -> Result<Answer, Failure> {
    match kind {
        RequestKind::Hello(_) => Ok(Answer::Welcome(Welcome {
            version: version::MAX,
            server: "test".to_owned(),
            server_time: Timestamp(1),
            max_packet_bytes: 1 << 20,
            max_text_bytes: 1 << 14,
            heartbeat_ms: 30_000,
            store_epoch: StoreEpoch([1; 16]),
        })),
        RequestKind::Resume(_) if behavior == Behavior::SessionExpired => {
            Err(Failure::new(ReplyCode::SessionExpired, "no session"))
        }
        RequestKind::Login(_) | RequestKind::Resume(_) => Ok(Answer::LoggedIn(Box::new(LoggedIn {
            user: UserInfo::new(UserId(1), "alice"),
            session_token: Some(Secret::new([7; 32])),
            device_token: None,
            store_epoch: StoreEpoch([1; 16]),
            conversations: Vec::new(),
            server_time: Timestamp(1),
            has_more: false,
        }))),
        _ => Ok(Answer::Outcome(Outcome::Done)),
    }
}

fn has_session_token(alice: &TestDevice) -> bool {
    let account = std::fs::read_to_string(alice.profile.join("accounts/alice/account")).unwrap();
    account.contains("session-token")
}

/// Starts a server that handles a login and one further connection for each of `behaviors`. Returns
/// it with a client that is logged in.
fn logged_in(behaviors: &[Behavior], directory: &Path) -> (JoinHandle<()>, TestDevice) {
    let (server, alice) = serve(&[&[Behavior::AcceptAll], behaviors].concat(), directory);
    alice.ok(&["--plain", "login"]);
    assert!(has_session_token(&alice));
    (server, alice)
}

#[test]
fn logout_without_a_reply_fails_and_keeps_the_session_token() {
    let directory = tempfile::tempdir().unwrap();
    let (server, alice) = logged_in(&[Behavior::CloseAtLogout], directory.path());
    let error = alice.fails(75, &["--json", "--plain", "logout"]);
    assert!(
        error.contains(r#""kind":"unknown""#) && error.contains("run `chat-client logout` again"),
        "{error}"
    );
    assert!(has_session_token(&alice));
    server.join().unwrap();
}

#[test]
fn logout_whose_reply_was_lost_is_repeated() {
    for second_behavior in [Behavior::AcceptAll, Behavior::SessionExpired] {
        let directory = tempfile::tempdir().unwrap();
        let (server, alice) = logged_in(&[Behavior::CloseAtLogout, second_behavior], directory.path());
        assert_eq!(alice.ok(&["--plain", "logout"]), "logged out\n", "{second_behavior:?}");
        assert!(!has_session_token(&alice), "{second_behavior:?}");
        server.join().unwrap();
    }
}

/// A shell script repeats a logout that failed with exit code 75, until it succeeds.
#[test]
fn logout_of_a_session_that_has_ended_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let (server, alice) = logged_in(&[Behavior::SessionExpired], directory.path());
    assert_eq!(alice.ok(&["--plain", "logout"]), "logged out\n");
    assert!(!has_session_token(&alice));
    server.join().unwrap();
    // No session is left, so no server is needed.
    assert_eq!(alice.ok(&["--plain", "logout"]), "logged out\n");
}
