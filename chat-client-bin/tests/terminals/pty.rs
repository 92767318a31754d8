//! Tests of the interactive client on a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::pty::{Winsize, openpty};

use super::support::{TestDevice, TestServer, WAIT_TIMEOUT};

/// A pseudo-terminal with a running client.
struct Terminal {
    keyboard: File,
    /// Output of the client, as the reading thread receives it.
    output: mpsc::Receiver<Vec<u8>>,
    /// Output after the last match of [`until`](Self::until).
    unmatched: String,
    child: Child,
}

impl Terminal {
    /// Starts a client whose variable `TERM` is `term`.
    fn start(device: &TestDevice, term: &str) -> Self {
        let size = Winsize {
            ws_row: 50,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = device
            .command(&[])
            .env("TERM", term)
            .env("NO_COLOR", "1")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let keyboard = File::from(pty.master);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The loop ends when the client has closed its side.
            while let Ok(read @ 1..) = screen.read(&mut buffer)
                && sender.send(buffer[..read].to_vec()).is_ok()
            {}
        });
        Self {
            keyboard,
            output,
            unmatched: String::new(),
            child,
        }
    }

    /// Starts a client and opens the conversation with Bob.
    fn with_bob(device: &TestDevice) -> Self {
        let mut client = Self::start(device, "xterm");
        client.until("> ");
        client.press("/dm bob\r");
        client.until("bob> ");
        client
    }

    /// Sends the first message to Bob and quits.
    fn send_first_and_quit(mut self, text: &str) {
        self.press(&format!("{text}\r"));
        self.until("✓ #1 bob");
        self.quit();
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `part` appears in the output after the previous match.
    fn until(&mut self, part: &str) {
        while !self.unmatched.contains(part) {
            match self.output.recv_timeout(WAIT_TIMEOUT) {
                Ok(bytes) => self.unmatched.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {part:?} in {:?}", self.unmatched),
            }
        }
        let end = self.unmatched.find(part).unwrap() + part.len();
        self.unmatched.drain(..end);
    }

    fn quit(mut self) {
        self.press("/quit\r");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill(); // the client may have ended by itself
        let _ = self.child.wait();
    }
}

#[test]
fn terminal_keeps_lines_typed_ahead() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::start(&alice, "xterm");
    client.until("> ");
    let lines: Vec<_> = (1..=60).map(|number| format!("line {number}")).collect();
    client.press(&format!("/dm bob\r{}\r", lines.join("\r")));
    client.until("✓ #60 bob");
    client.quit();
    assert_eq!(bob.texts(&["alice"]), lines);
}

#[test]
fn terminal_stays_in_conversation_when_open_fails() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    for (command, answer) in [
        ("/dm nobody\r", "nobody was not found"),
        ("/group nogroup\r", "#nogroup was not found"),
        ("/join nogroup\r", "not found, or not visible to you"),
    ] {
        client.press(command);
        client.until(answer);
        client.until("bob> ");
    }
    client.send_first_and_quit("still here");
    assert_eq!(bob.texts(&["alice"]), ["still here"]);
}

#[test]
fn dumb_terminal_works_without_the_editor() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::start(&alice, "dumb");
    client.until("You are alice");
    client.press("/dm bob\r");
    client.until("no messages yet");
    client.send_first_and_quit("hello");
    assert_eq!(bob.texts(&["alice"]), ["hello"]);
}

#[test]
fn terminal_reports_invalid_text_and_continues() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    client.keyboard.write_all(b"\xff").unwrap();
    client.until("the line is not valid UTF-8");
    client.until("bob> ");
    client.send_first_and_quit("hello");
    assert_eq!(bob.texts(&["alice"]), ["hello"]);
}
