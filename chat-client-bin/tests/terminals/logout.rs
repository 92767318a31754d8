//! Tests of a logout whose connection breaks before the server's reply, and of a logout after the
//! session has ended.

use std::net::TcpListener;
use std::path::Path;
use std::thread::{self, JoinHandle};

use chat_core::codec::{Failure, RequestKind};
use chat_core::model::{Command, ReplyCode};

use super::scripted_server::{Reply, accept, device_of, handle};
use super::support::TestDevice;

/// Behaviour of a server in one connection.
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
fn serve_connections(behaviors: &[Behavior], directory: &Path) -> (JoinHandle<()>, TestDevice) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let device = device_of(&listener, directory);
    let behaviors = behaviors.to_vec();
    let server = thread::spawn(move || {
        for behavior in behaviors {
            handle(listener.accept().unwrap().0, |kind| reply_to(kind, behavior));
        }
    });
    (server, device)
}

fn reply_to(kind: &RequestKind, behavior: Behavior) -> Reply {
    match (kind, behavior) {
        (RequestKind::Command(Command::Logout), Behavior::CloseAtLogout) => None,
        (RequestKind::Resume(_), Behavior::SessionExpired) => {
            Some(Err(Failure::new(ReplyCode::SessionExpired, "no session")))
        }
        _ => Some(accept(kind)),
    }
}

fn has_session_token(alice: &TestDevice) -> bool {
    let account = std::fs::read_to_string(alice.profile.join("accounts/alice/account")).unwrap();
    account.contains("session-token")
}

/// Starts a server that handles a login and one further connection for each of `behaviors`. Returns
/// its thread, and a device that is logged in.
fn logged_in(behaviors: &[Behavior], directory: &Path) -> (JoinHandle<()>, TestDevice) {
    let (server, alice) = serve_connections(&[&[Behavior::AcceptAll], behaviors].concat(), directory);
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

/// A script may repeat a logout that failed with exit code 75. The repetition must not fail because
/// the first logout has ended the session.
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
