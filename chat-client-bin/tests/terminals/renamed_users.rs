//! Tests with a user whom an operator renames.

use std::io::Write as _;
use std::process::Command;

use super::support::{RunningProcess, TestServer, server_program};

/// Runs a command of the operator, which has to succeed.
fn run_operator_command(server: &TestServer, arguments: &[&str]) {
    let mut command = Command::new(server_program());
    let output = command
        .arg("--data-dir")
        .arg(server.path("data"))
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
}

#[test]
fn lines_after_the_first_reach_a_user_who_is_renamed() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut sender: RunningProcess = alice.start(&["send", "bob", "-"]);
    sender.type_line("one");
    sender.until("1");
    run_operator_command(&server, &["user", "rename", "bob", "robert"]);
    // Another user who has the name does not get the lines.
    let other = server.device("bob", "other");
    other.ok(&["register"]);
    sender.type_line("two");
    sender.until("2");
    assert_eq!(sender.finish().0, Some(0));
    let mut robert = bob.clone();
    robert.name = "robert".to_owned();
    robert.profile = server.path("robert");
    robert.ok(&["login"]);
    assert_eq!(robert.texts(&["alice"]), ["one", "two"]);
}

/// No event tells alice that bob has another name. Her client learns it when a search shows that
/// another user has bob's former name.
#[test]
fn label_of_a_renamed_user_changes_once_the_name_has_another_owner() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("-- bob: no messages yet");
    client.type_line("hello");
    client.until("✓ #1 bob");
    run_operator_command(&server, &["user", "rename", "bob", "robert"]);
    server.device("bob", "other").ok(&["register"]);
    client.type_line("/search bob");
    client.until("bob");
    client.type_line("still you?");
    client.until("✓ #2 robert");
    assert_eq!(client.finish().0, Some(0));
}

/// A listener that has run since before the renaming sends the messages of other commands.
#[test]
fn message_through_an_agent_reaches_the_present_owner_of_the_name() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "to the former owner"]);
    let listener = alice.start(&["listen", "--own"]);
    alice.ok(&["send", "bob", "through the agent"]);
    listener.until("through the agent");
    run_operator_command(&server, &["user", "rename", "bob", "robert"]);
    let other = server.device("bob", "other");
    other.ok(&["register"]);
    other.ok(&["account", "--direct", "everyone"]);
    alice.ok(&["send", "bob", "to the present owner"]);
    assert_eq!(other.texts(&["alice"]), ["to the present owner"]);
    let mut robert = bob.clone();
    robert.name = "robert".to_owned();
    robert.profile = server.path("robert");
    robert.ok(&["login"]);
    assert_eq!(robert.texts(&["alice"]), ["to the former owner", "through the agent"]);
    drop(listener);
}

/// The name under which the profile stores the account belongs to another account by the time of
/// the login.
#[test]
fn message_is_not_added_to_the_outbox_of_another_user() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["logout"]);
    run_operator_command(&server, &["user", "rename", "alice", "former"]);
    server.device("alice", "other").ok(&["register"]);
    for command in [&["send", "bob", "of the other alice"][..], &["send", "bob", "-"]] {
        let mut process = alice.command(command);
        process
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = process.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(b"a line of the other alice\n"); // the client may have ended
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(
            errors.contains("this name belongs to another account"),
            "{command:?}: {errors}"
        );
        assert!(
            errors.contains("--profile") && !errors.contains("kept in the outbox"),
            "{errors}"
        );
    }
    alice.fails(77, &["send", "bob", "of the other alice"]);
    run_operator_command(&server, &["user", "rename", "alice", "stranger"]);
    run_operator_command(&server, &["user", "rename", "former", "alice"]);
    alice.ok(&["send", "bob", "of the former alice"]);
    assert_eq!(bob.texts(&["alice"]), ["of the former alice"]);
}
