//! Tests of servers, clients and agents that are killed or stopped at critical moments.

use std::process::{Command, Stdio};

use chat_harness::process::{Reach, signal};

use super::support::{DroppingProxy, PASSWORD, RunningProcess, TestDevice, TestServer, eventually, texts};

#[test]
fn message_is_stored_once_when_server_is_killed_before_reply() {
    let mut server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let proxy = DroppingProxy::to(server.process.address());
    let mut via_proxy = alice.clone();
    via_proxy.server = proxy.address;

    let mut sender = via_proxy.start(&["send", "bob", "-", "--timeout", "60"]);
    sender.type_line("before");
    assert_eq!(sender.next_line(), "1");
    proxy.drop_server_bytes(true);
    sender.type_line("in between");
    eventually("the message is committed", || bob.texts(&["alice"]).len() == 2);
    server.process.kill_and_restart().unwrap();
    proxy.drop_server_bytes(false);
    proxy.cut();
    assert_eq!(sender.next_line(), "2", "the same seq as the stored message");
    sender.type_line("after");
    assert_eq!(sender.next_line(), "3");
    assert_eq!(sender.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), ["before", "in between", "after"]);
}

#[test]
fn message_is_stored_once_when_client_is_killed_before_reply() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let proxy = DroppingProxy::to(server.process.address());
    let mut via_proxy = alice.clone();
    via_proxy.server = proxy.address;

    let mut sender = via_proxy.start(&["send", "bob", "-", "--timeout", "60"]);
    sender.type_line("before");
    assert_eq!(sender.next_line(), "1");
    proxy.drop_server_bytes(true);
    sender.type_line("unacknowledged");
    eventually("the message is committed", || bob.texts(&["alice"]).len() == 2);
    sender.kill();
    proxy.drop_server_bytes(false);
    alice.ok(&["send", "bob", "after"]);
    assert_eq!(bob.texts(&["alice"]), ["before", "unacknowledged", "after"]);
}

#[test]
fn listener_receives_unprinted_events_again() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    alice.ok(&["send", "bob", "one"]);
    alice.ok(&["send", "bob", "two"]);
    // The pipe of the listener's output is closed, so the line cannot be written.
    let mut listen = bob.command(&["listen", "--count", "2", "--timeout", "20"]);
    let mut child = listen.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(!child.wait().unwrap().success());
    assert_eq!(
        texts(&bob.json(&["listen", "--count", "2", "--timeout", "20"])),
        ["one", "two"]
    );
}

/// Starts a listener, which is the agent of the account, and stops it with SIGSTOP. Then tries to
/// send a message through it, which stays in the outbox.
fn stopped_listener(device: &TestDevice) -> RunningProcess {
    let listener = device.start(&["listen", "--json", "--own"]);
    device.ok(&["send", "bob", "before"]);
    listener.until("before");
    signal(listener.id(), "STOP", Reach::Process).unwrap();
    let errors = device.fails(75, &["send", "bob", "kept", "--timeout", "1"]);
    assert!(errors.contains("1 message is kept in the outbox"), "{errors}");
    listener
}

#[test]
fn outbox_is_sent_after_the_agent_was_killed() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let listener = stopped_listener(&alice);
    listener.kill();
    // Every command that connects to the server also sends the messages of the outbox.
    alice.ok(&["devices"]);
    assert_eq!(bob.texts(&["alice"]), ["before", "kept"]);
    assert_eq!(
        std::fs::read_dir(alice.profile.join("accounts/alice/spool"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn message_is_stored_once_when_stopped_agent_continues() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let listener = stopped_listener(&alice);
    signal(listener.id(), "CONT", Reach::Process).unwrap();
    alice.ok(&["send", "bob", "after"]);
    listener.until("after");
    let texts = bob.texts(&["alice"]);
    assert_eq!((texts.len(), &texts[0]), (3, &"before".to_owned()), "{texts:?}");
    assert_eq!(texts.iter().filter(|text| *text == "kept").count(), 1, "{texts:?}");
}

#[test]
fn send_survives_repeated_server_kills() {
    let mut server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut sender = alice.start(&["send", "bob", "-", "--timeout", "60"]);
    let mut sent_texts = Vec::new();
    for round in 0..3 {
        for number in 0..40 {
            let text = format!("{round}.{number}");
            sender.type_line(&text);
            sent_texts.push(text);
        }
        sender.next_line();
        server.process.kill_and_restart().unwrap();
    }
    assert_eq!(sender.finish().0, Some(0));
    assert_eq!(bob.texts(&["alice"]), sent_texts);
    let seqs: Vec<_> = bob
        .json(&["history", "alice", "--after", "0"])
        .iter()
        .map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (1..=120).map(Some).collect::<Vec<_>>());
}

/// A supervisor ends a listener by a signal right after lines were printed.
#[test]
fn terminated_listener_acknowledges_what_it_has_printed() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    for name in ["TERM", "HUP", "INT"] {
        for number in 1..=5 {
            alice.ok(&["send", "bob", &format!("{name} {number}")]);
        }
        let listener = bob.start(&["listen", "--json"]);
        listener.until(&format!("{name} 5"));
        signal(listener.id(), name, Reach::Process).unwrap();
        // The signal comes twice, as from `timeout`, which sends it to the process and to the group
        // of the process. The process may have ended already.
        let _ = signal(listener.id(), name, Reach::Process);
        assert_eq!(listener.finish().0, Some(0), "SIG{name}");
        assert!(bob.missed().is_empty(), "printed again after SIG{name}");
    }
}

/// `nohup` is the usual way to keep a listener after the terminal was closed.
#[test]
fn listener_keeps_ignoring_a_signal_that_it_inherited_as_ignored() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let listen = alice.command(&["listen", "--json"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" HUP; exec "$0" "$@""#])
        .arg(listen.get_program());
    command.args(listen.get_args()).env("CHAT_PASSWORD", PASSWORD);
    let listener = RunningProcess::start(command);
    bob.ok(&["send", "alice", "one"]);
    listener.until("one");
    signal(listener.id(), "HUP", Reach::Process).unwrap();
    bob.ok(&["send", "alice", "two"]);
    listener.until("two");
    signal(listener.id(), "TERM", Reach::Process).unwrap();
    assert_eq!(listener.finish().0, Some(0));
}
