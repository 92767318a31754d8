//! The interactive client at a terminal: somebody types.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::pty::{Winsize, openpty};

use super::support::{PATIENCE, Person, World};

/// A person at a terminal.
struct Terminal {
    keyboard: File,
    shown: mpsc::Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Terminal {
    fn of(person: &Person, kind: &str) -> Self {
        let size = Winsize {
            ws_row: 50,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = person
            .command(&[])
            .env("TERM", kind)
            .env("NO_COLOR", "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        drop(pty.slave);
        let keyboard = File::from(pty.master);
        let mut screen = keyboard.try_clone().unwrap();
        let (sender, shown) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends when the client has closed its side.
            while let Ok(read @ 1..) = screen.read(&mut buffer)
                && sender.send(buffer[..read].to_vec()).is_ok()
            {}
        });
        Self {
            keyboard,
            shown,
            seen: String::new(),
            child,
        }
    }

    /// One that is at the prompt of the conversation with bob.
    fn with_bob(person: &Person) -> Self {
        let mut here = Self::of(person, "xterm");
        here.until("> ");
        here.press("/dm bob\r");
        here.until("bob> ");
        here
    }

    /// Says the first thing that is said to bob, and leaves.
    fn says(mut self, text: &str) {
        self.press(&format!("{text}\r"));
        self.until("✓ #1 bob");
        self.leave();
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `part` is on the screen, after everything that was waited for before.
    fn until(&mut self, part: &str) {
        while !self.seen.contains(part) {
            match self.shown.recv_timeout(PATIENCE) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {part:?} in {:?}", self.seen),
            }
        }
        let end = self.seen.find(part).unwrap() + part.len();
        self.seen.drain(..end);
    }

    fn leave(mut self) {
        self.press("/quit\r");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

#[test]
fn terminal_keeps_lines_typed_ahead() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut here = Terminal::of(&alice, "xterm");
    here.until("> ");
    let lines: Vec<_> = (1..=60).map(|number| format!("line {number}")).collect();
    here.press(&format!("/dm bob\r{}\r", lines.join("\r")));
    here.until("✓ #60 bob");
    here.leave();
    assert_eq!(bob.texts(&["alice"]), lines);
}

#[test]
fn terminal_stays_in_conversation_when_open_fails() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut here = Terminal::with_bob(&alice);
    for (command, answer) in [
        ("/dm nobody\r", "nobody was not found"),
        ("/group nogroup\r", "#nogroup was not found"),
        ("/join nogroup\r", "there is no such thing"),
    ] {
        here.press(command);
        here.until(answer);
        here.until("bob> ");
    }
    here.says("still here");
    assert_eq!(bob.texts(&["alice"]), ["still here"]);
}

#[test]
fn dumb_terminal_works_without_the_editor() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut here = Terminal::of(&alice, "dumb");
    here.until("You are alice");
    here.press("/dm bob\r");
    here.until("no messages yet");
    here.says("hello");
    assert_eq!(bob.texts(&["alice"]), ["hello"]);
}

#[test]
fn terminal_reports_invalid_text_and_continues() {
    let world = World::new();
    let [alice, bob] = world.friends(["alice", "bob"]);
    let mut here = Terminal::with_bob(&alice);
    here.keyboard.write_all(b"\xff").unwrap();
    here.until("the line is not valid UTF-8");
    here.until("bob> ");
    here.says("hello");
    assert_eq!(bob.texts(&["alice"]), ["hello"]);
}
