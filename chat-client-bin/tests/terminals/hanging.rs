//! Tests of signals to an interactive client whose server does not answer.

use std::time::{Duration, Instant};

use chat_harness::process::{Reach, signal};

use super::pty::Terminal;
use super::support::{DroppingProxy, TestDevice, TestServer, eventually};

/// Maximum time from a signal to the end of the client. Without the signal, the client would wait
/// for the server for 10 s or more.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Signals that end the client, each with the exit code.
const SIGNALS: [(&str, i32); 3] = [("TERM", 143), ("HUP", 129), ("INT", 130)];

/// Returns a copy of `device` that reaches the server through a new proxy, and the proxy.
pub(super) fn behind_proxy(device: &TestDevice) -> (TestDevice, DroppingProxy) {
    let proxy = DroppingProxy::to(device.server);
    let mut device = device.clone();
    device.server = proxy.address;
    (device, proxy)
}

/// Sends a signal to a client that waits for the server. Asserts that the client ends soon and
/// restores the terminal. `is_reading` is true if the line editor is reading a line.
fn stop(mut client: Terminal, (name, code): (&str, i32), is_reading: bool) {
    let started = Instant::now();
    client.signal(name);
    if name == "INT" && is_reading {
        // The line editor handles the first SIGINT like Ctrl-C: it discards the typed line.
        eventually("the line is discarded", || client.is_in_line_mode());
        client.signal(name);
    }
    assert_eq!(client.exit_code(), Some(code), "SIG{name}");
    assert!(started.elapsed() < STOP_TIMEOUT, "SIG{name}: {:?}", started.elapsed());
    assert!(client.is_in_line_mode(), "SIG{name}");
}

/// The client asks for the name of a user whom it does not know, in order to print the line of an
/// event, and gets no answer.
#[test]
fn signal_ends_a_client_that_handles_an_event() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    for (number, signal) in (1..).zip(SIGNALS) {
        let (device, proxy) = behind_proxy(&alice);
        let group = format!("club{number}");
        alice.ok(&["group", "create", &group]);
        bob.ok(&["group", "join", &group]);
        let mut client = Terminal::start(&device, "xterm");
        client.until("> ");
        client.press(&format!("/group {group}\r"));
        client.until("bob joined");
        let stranger = server.register(&format!("stranger{number}"));
        proxy.drop_client_bytes();
        stranger.ok(&["group", "join", &group]);
        // While this command runs, the client receives the event of the stranger, who has joined,
        // and asks for the name.
        bob.ok(&["send", "-g", &group, "hello"]);
        stop(client, signal, true);
    }
}

#[test]
fn signal_ends_a_client_that_finishes_its_jobs() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    for signal in SIGNALS {
        let (device, proxy) = behind_proxy(&alice);
        let mut client = Terminal::in_empty_conversation_with_bob(&device);
        proxy.drop_client_bytes();
        client.press("/devices\r");
        client.until("/devices");
        client.press("/quit\r");
        client.until("/quit");
        stop(client, signal, false);
    }
}

#[test]
fn signal_ends_a_script_whose_line_gets_no_answer() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    for (name, code) in SIGNALS {
        let (device, proxy) = behind_proxy(&alice);
        let mut client = device.start(&[]);
        client.type_line("/friends");
        client.until("bob");
        proxy.drop_client_bytes();
        client.type_line("/frobnicate");
        client.until_error("/frobnicate is not a command");
        client.type_line("/devices");
        let started = Instant::now();
        signal(client.id(), name, Reach::Process).unwrap();
        client.until_error(&format!("stopped by SIG{name}"));
        assert_eq!(client.finish().0, Some(code));
        assert!(started.elapsed() < STOP_TIMEOUT, "SIG{name}: {:?}", started.elapsed());
    }
}
