//! Tests of the prompt for a password at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use super::support::{program, run_program, stdout};

/// A command that runs at a pseudo terminal.
struct AtTerminal {
    child: Child,
    keyboard: File,
}

impl AtTerminal {
    /// Starts `user add NAME`, and waits for the first prompt.
    fn add_user(directory: &Path, name: &str) -> Self {
        let pty = openpty(None, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = program(directory, &["user", "add", name]);
        command.env_remove("CHAT_PASSWORD");
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        drop(pty.slave);
        let mut started = Self {
            child,
            keyboard: File::from(pty.master),
        };
        started.until("New password: ");
        started
    }

    /// Reads until the output ends with `part`.
    fn until(&mut self, part: &str) {
        let mut output = Vec::new();
        while !output.ends_with(part.as_bytes()) {
            let mut byte = [0];
            let read = self.keyboard.read(&mut byte).unwrap_or(0);
            assert_eq!(read, 1, "no {part:?} in {:?}", String::from_utf8_lossy(&output));
            output.push(byte[0]);
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn shows_input(&self) -> bool {
        tcgetattr(&self.keyboard)
            .unwrap()
            .local_flags
            .contains(LocalFlags::ECHO | LocalFlags::ICANON)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn users(directory: &Path) -> String {
    stdout(&run_program(directory, &["user", "list"]))
}

#[test]
fn signals_at_the_password_prompt_end_the_command_and_restore_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert!(run_program(path, &["migrate"]).status.success());
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        for prompts in [1, 2] {
            let mut command = AtTerminal::add_user(path, "alice");
            if prompts == 2 {
                command.press("correct horse battery\r");
                command.until("Again: ");
            }
            assert!(!command.shows_input());
            command.signal(signal);
            assert_eq!(command.exit_code(), Some(code), "{signal}");
            assert!(command.shows_input(), "{signal}");
        }
    }
    let mut command = AtTerminal::add_user(path, "alice");
    command.press("\u{3}"); // Ctrl-C
    assert_eq!(command.exit_code(), Some(130));
    assert!(command.shows_input());
    assert_eq!(users(path), "");
}

#[test]
fn password_is_typed_twice_at_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert!(run_program(path, &["migrate"]).status.success());
    for (again, code) in [("another battery", 1), ("correct horse battery", 0)] {
        let mut command = AtTerminal::add_user(path, "alice");
        command.press("correct horse battery\r");
        command.until("Again: ");
        command.press(&format!("{again}\r"));
        assert_eq!(command.exit_code(), Some(code));
        assert!(command.shows_input());
    }
    assert!(users(path).contains("alice"));
}
