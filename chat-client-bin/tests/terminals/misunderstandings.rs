//! Tests of mistakes and situations that are typical of new users: commands given before an answer
//! arrived, a new password that is too short, commands for groups in a direct conversation, output
//! that nobody reads, and what arrived between two runs.

use std::io::Read as _;
use std::process::Stdio;

use chat_harness::process::{Reach, signal};

use super::hanging::behind_proxy;
use super::pty::Terminal;
use super::support::{TestServer, eventually};

/// A text that waits for the server is the last message, even if an older one is stored.
#[test]
fn recall_does_not_hit_the_message_before_the_one_that_waits() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let (device, proxy) = behind_proxy(&alice);
    let mut client = Terminal::in_empty_conversation_with_bob(&device);
    client.press("old\r");
    client.until("alice: old");
    proxy.drop_client_bytes();
    client.press("oops\r");
    client.until("sending to bob");
    client.press("/recall\r");
    client.until("your last message to bob is not stored yet");
    assert_eq!(bob.texts(&["alice"]), ["old"]);
}

#[test]
fn edit_of_a_text_that_is_being_sent_changes_that_text() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::in_empty_conversation_with_bob(&alice);
    client.press("first\r");
    client.until("alice: first");
    client.press("quick\r/edit quick and right\r");
    client.until("✓ #2 is changed");
    assert_eq!(bob.texts(&["alice"]), ["first", "quick and right"]);
}

/// A user who expects to be asked for the new password again types it a second time without reading
/// the prompt. This line must not be sent as a message.
#[test]
fn short_new_password_is_asked_for_again() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::in_empty_conversation_with_bob(&alice);
    client.press("/passwd\r");
    client.until("Current password: ");
    client.press("whatever it is\r");
    client.until("New password: ");
    client.press("short\r");
    client.until("type a new password, or Ctrl-C");
    client.until("New password: ");
    client.press("short\r");
    client.until("type a new password, or Ctrl-C");
    client.until("New password: ");
    client.press("\u{3}"); // Ctrl-C
    client.until("the password is not changed");
    bob.fails(1, &["history", "alice"]); // there is no conversation yet
}

#[test]
fn friend_requests_that_arrived_between_runs_are_announced() {
    let server = TestServer::new();
    let alice = server.register("alice");
    let bob = server.register("bob");
    alice.ok(&["whoami"]);
    bob.ok(&["friend", "add", "alice"]);
    let mut client = Terminal::start(&alice, "xterm");
    client.until("New: inbox (1; /inbox shows them)");
}

#[test]
fn group_command_in_a_direct_conversation_names_the_mistake() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("no messages yet");
    for (line, command) in (2..).zip(["/members", "/kick bob", "/topic x", "/leave", "/invite bob"]) {
        client.type_line(command);
        client.until_error(&format!("line {line}: bob is not a group"));
    }
    assert_eq!(client.finish().0, Some(1));
}

#[test]
fn number_of_unread_messages_that_are_not_printed_is_told() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let lines = server.path("lines");
    std::fs::write(&lines, "message\n".repeat(210)).unwrap();
    let mut send = bob.command(&["send", "alice", "-"]);
    let sent = send.stdin(std::fs::File::open(&lines).unwrap()).output().unwrap();
    assert!(sent.status.success(), "{sent:?}");
    let mut client = alice.start(&[]);
    client.type_line("/dm bob");
    client.until("10 earlier unread messages are not shown; /history 210 prints them");
    assert_eq!(client.finish().0, Some(0));
}

#[test]
fn listener_ends_when_the_reader_of_its_output_is_gone() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut listener = alice.command(&["listen"]);
    let mut listener = listener.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(listener.stdout.take());
    let mut errors = String::new();
    let read = listener.stderr.take().unwrap().read_to_string(&mut errors);
    read.unwrap();
    assert_eq!((listener.wait().unwrap().code(), errors.as_str()), (Some(141), ""));
}

/// The pipe is full, so printing the next event waits for the reader.
#[test]
fn signal_ends_a_listener_whose_output_nobody_reads() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let text = "x".repeat(16_000);
    for number in 0..8 {
        bob.ok(&["send", "alice", &format!("{number}{text}")]);
    }
    let mut listener = alice.command(&["--json", "listen"]);
    let mut listener = listener.stdout(Stdio::piped()).spawn().unwrap();
    let output = listener.stdout.take().unwrap();
    let capacity = || rustix::pipe::fcntl_getpipe_size(&output).unwrap();
    eventually("the pipe is full", || {
        rustix::io::ioctl_fionread(&output).unwrap() as usize > capacity() - 16_000
    });
    signal(listener.id(), "TERM", Reach::Process).unwrap();
    eventually("the listener ends", || listener.try_wait().unwrap().is_some());
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    // The events that were not printed completely are printed by the next run.
    assert!(alice.missed().len() >= 4);
}
