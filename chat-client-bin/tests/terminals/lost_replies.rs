//! Tests of commands whose connection breaks after the server has received them and before its
//! reply. `logout.rs` has those of `logout`.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use chat_core::codec::{Answer, Failure, RequestKind};
use chat_core::model::{
    Command, ConversationId, ConversationInfo, ConversationView, GroupInfo, GroupProfile, JoinPolicy, Outcome,
    ReplyCode, UserId, UserInfo,
};
use serde_json::Value;

use super::scripted_server::{Reply, accept, device_of, handle, serve};
use super::support::{TestDevice, eventually};

/// Id of a device that a command revokes.
const DEVICE: &str = "0123456789abcdef0123456789abcdef";

/// Returns `true` for a request that the user asked for: a registration, or a command other than
/// those that the client also sends by itself while it runs another command.
fn is_from_user(kind: &RequestKind) -> bool {
    match kind {
        RequestKind::Register(_) => true,
        RequestKind::Command(command) => !matches!(
            command,
            Command::GetConversation(_)
                | Command::GetUsers(_)
                | Command::ListConversations(_)
                | Command::SetPresence(_)
        ),
        _ => false,
    }
}

fn club() -> ConversationInfo {
    let profile = GroupProfile {
        name: "club".to_owned(),
        key: "club".to_owned(),
        skeleton: "club".to_owned(),
        description: String::new(),
        join_policy: JoinPolicy::Open,
        history_visible: false,
        unlisted: false,
    };
    let mut group = GroupInfo::new(ConversationId(4), profile);
    group.member_count = 2;
    ConversationInfo::new(ConversationId(4), ConversationView::Group(group))
}

/// Returns the reply with which a request succeeds.
fn succeed(kind: &RequestKind) -> Reply {
    Some(match kind {
        RequestKind::Command(Command::GetConversation(_) | Command::CreateGroup(_)) => {
            Ok(Answer::Outcome(Outcome::Conversation(Box::new(club()))))
        }
        RequestKind::Command(Command::UpdateProfile(_)) => {
            Ok(Answer::Outcome(Outcome::User(UserInfo::new(UserId(1), "alice"))))
        }
        kind => accept(kind),
    })
}

/// Starts a server that closes the connection when it receives one of the first `lost` requests of
/// the [user](is_from_user). Returns a device that uses it, and the number of these requests that
/// the server has received.
fn lossy_server(directory: &Path, lost: usize) -> (TestDevice, Arc<AtomicUsize>) {
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let device = serve(directory, move |kind| {
        if is_from_user(kind) && count.fetch_add(1, Ordering::SeqCst) < lost {
            return None;
        }
        succeed(kind)
    });
    (device, received)
}

/// Time limit, in seconds, for commands that end long before it.
const AMPLE: &str = "60";
/// Time limit, in seconds, for commands that wait for a reply until the limit ends them.
const SHORT: &str = "3";

/// Runs a command that has to fail because its outcome is unknown, with JSON and without.
fn assert_outcome_is_unknown(alice: &TestDevice, timeout: &str, command: &[&str]) {
    let run = |options: &[&str]| {
        let mut process = alice.command(&[&["--plain", "--timeout", timeout], options, command].concat());
        let output = process
            .env("CHAT_NEW_PASSWORD", "another fine password")
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(75), "{command:?}: {errors}");
        assert!(output.stdout.is_empty(), "{command:?} reports a success");
        assert!(errors.contains("it is unknown whether"), "{command:?}: {errors}");
        errors
    };
    run(&[]);
    let errors = run(&["--json"]);
    let error: Value = serde_json::from_str(errors.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["kind"], "unknown", "{command:?}: {errors}");
}

#[test]
fn command_that_must_not_be_repeated_ends_with_an_unknown_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, received) = lossy_server(directory.path(), usize::MAX);
    alice.ok(&["--plain", "login"]);
    for command in [
        &["friend", "add", "bob"][..],
        &["friend", "accept", "bob"],
        &["friend", "decline", "bob"],
        &["friend", "remove", "bob"],
        &["group", "join", "club"],
        &["group", "leave", "club"],
        &["group", "delete", "club"],
        &["group", "invite", "club", "bob"],
        &["group", "decline", "club"],
        &["group", "approve", "club", "bob"],
        &["group", "reject", "club", "bob"],
        &["group", "kick", "club", "bob"],
        &["group", "unban", "club", "bob"],
        &["group", "mute", "club", "bob", "10m"],
        &["group", "transfer", "club", "bob"],
        &["devices", "revoke", DEVICE],
        &["passwd"],
    ] {
        let before = received.load(Ordering::SeqCst);
        assert_outcome_is_unknown(&alice, AMPLE, command);
        assert_eq!(
            received.load(Ordering::SeqCst),
            before + 2,
            "{command:?} reached the server once in each of two runs"
        );
    }
}

/// Some of the commands that the client repeats by itself if the reply was lost.
const REPEATED: [&[&str]; 5] = [
    &["group", "create", "club"],
    &["account", "--display-name", "Alice L."],
    &["friend", "block", "bob"],
    &["friend", "unblock", "bob"],
    &["read", "-g", "club"],
];

#[test]
fn repeated_command_ends_with_an_unknown_outcome_if_every_reply_is_lost() {
    // Each command waits for its time limit, so they run at the same time.
    thread::scope(|scope| {
        for command in REPEATED {
            scope.spawn(move || {
                let directory = tempfile::tempdir().unwrap();
                let (alice, _) = lossy_server(directory.path(), usize::MAX);
                alice.ok(&["--plain", "login"]);
                assert_outcome_is_unknown(&alice, SHORT, command);
            });
        }
    });
}

#[test]
fn repeated_command_succeeds_once_a_reply_arrives() {
    for command in REPEATED {
        let directory = tempfile::tempdir().unwrap();
        let (alice, received) = lossy_server(directory.path(), 1);
        alice.ok(&["--plain", "login"]);
        alice.ok(&[&["--plain"], command].concat());
        assert_eq!(received.load(Ordering::SeqCst), 2, "{command:?}");
    }
}

/// The error must not be of the kind `unreachable`, which would mean that nothing was done.
#[test]
fn command_received_by_a_server_that_then_goes_away_has_an_unknown_outcome() {
    for (command, timeout) in [
        (&["friend", "add", "bob"][..], AMPLE),
        (&["group", "create", "club"], SHORT),
        (&["register"], AMPLE),
    ] {
        for options in [&[][..], &["--json"]] {
            let directory = tempfile::tempdir().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let alice = device_of(&listener, directory.path());
            let server = thread::spawn(move || {
                let mut is_gone = false;
                while !is_gone {
                    handle(listener.accept().unwrap().0, |kind| {
                        is_gone = is_from_user(kind);
                        if is_gone { None } else { succeed(kind) }
                    });
                }
            });
            if command != ["register"] {
                alice.ok(&["--plain", "login"]);
            }
            let arguments = [&["--plain", "--timeout", timeout], options, command].concat();
            let errors = alice.fails(75, &arguments);
            assert!(errors.contains("it is unknown whether"), "{command:?}: {errors}");
            assert_eq!(errors.contains(r#""kind":"unknown""#), !options.is_empty(), "{errors}");
            server.join().unwrap();
        }
    }
}

#[test]
fn registration_whose_replies_are_lost_has_an_unknown_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, _) = lossy_server(directory.path(), usize::MAX);
    assert_outcome_is_unknown(&alice, SHORT, &["register"]);
    let errors = alice.fails(75, &["--plain", "--timeout", AMPLE, "register"]);
    assert!(errors.contains("try `chat-client login`"), "{errors}");
    // In another registration, two replies are lost and the third arrives.
    let directory = tempfile::tempdir().unwrap();
    let (alice, received) = lossy_server(directory.path(), 2);
    alice.ok(&["--plain", "register"]);
    assert_eq!(received.load(Ordering::SeqCst), 3);
}

/// After these answers, the command may have taken effect (docs/protocol.md, 10.1).
#[test]
fn command_that_the_server_cannot_confirm_has_an_unknown_outcome() {
    for code in [ReplyCode::TryAgain, ReplyCode::Internal] {
        let directory = tempfile::tempdir().unwrap();
        let alice = serve(directory.path(), move |kind| {
            if is_from_user(kind) {
                return Some(Err(Failure::new(code, "the store did not answer")));
            }
            succeed(kind)
        });
        alice.ok(&["--plain", "login"]);
        assert_outcome_is_unknown(&alice, AMPLE, &["friend", "add", "bob"]);
        // A command that changes nothing may simply be repeated.
        let errors = alice.run(&["--plain", "--json", "friend", "list"]).stderr;
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains("error") && !errors.contains("unknown"), "{errors}");
    }
}

#[test]
fn command_through_an_agent_has_an_unknown_outcome_if_the_reply_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (alice, received) = lossy_server(directory.path(), usize::MAX);
    alice.ok(&["--plain", "login"]);
    let listener = alice.start(&["--plain", "listen"]);
    eventually("the listener runs commands of its profile", || {
        alice.profile.join("accounts/alice/agent").exists() && alice.run(&["--plain", "whoami"]).status.success()
    });
    for command in [&["friend", "add", "bob"][..], &["devices", "revoke", DEVICE]] {
        let before = received.load(Ordering::SeqCst);
        assert_outcome_is_unknown(&alice, AMPLE, command);
        assert_eq!(received.load(Ordering::SeqCst), before + 2, "{command:?}");
    }
    drop(listener);
}
