//! Tests of the client on a pseudo-terminal: the interactive client, the prompt for a password, and
//! a list with headings.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use chat_harness::process::{Reach, signal};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::termios::tcsetwinsize;

use super::support::{TestDevice, TestServer, WAIT_TIMEOUT, eventually};

/// A pseudo-terminal with a running client.
pub(super) struct Terminal {
    keyboard: File,
    /// Output of the client, in the pieces in which the reading thread receives it.
    output: mpsc::Receiver<Vec<u8>>,
    /// Output after the last match of [`until`](Self::until).
    unmatched: String,
    /// Bytes of a character whose rest has not been read yet.
    undecoded: Vec<u8>,
    child: Child,
}

impl Terminal {
    /// Starts an interactive client whose variable `TERM` is `term`.
    pub(super) fn start(device: &TestDevice, term: &str) -> Self {
        let mut command = device.command(&[]);
        command.env("TERM", term);
        Self::run(command)
    }

    /// Starts a command on a new pseudo-terminal of 200 columns, without colours. It gets a process
    /// group of its own, as from a shell.
    pub(super) fn run(mut command: Command) -> Self {
        let size = Winsize {
            ws_row: 50,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command
            .env("NO_COLOR", "1")
            // These would tell the client that it runs in the terminal from which the test was
            // started.
            .env_remove("TMUX")
            .env_remove("STY")
            .env_remove("XTERM_VERSION")
            .process_group(0)
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
            // The loop ends when the client has closed its side, or the `Terminal` is dropped.
            while let Ok(read @ 1..) = screen.read(&mut buffer)
                && sender.send(buffer[..read].to_vec()).is_ok()
            {}
        });
        Self {
            keyboard,
            output,
            unmatched: String::new(),
            undecoded: Vec::new(),
            child,
        }
    }

    /// Starts a client and opens the conversation with Bob.
    pub(super) fn with_bob(device: &TestDevice) -> Self {
        let mut client = Self::start(device, "xterm");
        client.until("> ");
        client.press("/dm bob\r");
        client.until("bob> ");
        client
    }

    /// Starts a client, opens the conversation with Bob, which is empty, and waits until the client
    /// has said so: a line that is printed while Enter is pressed would leave the typed line on the
    /// screen.
    pub(super) fn in_empty_conversation_with_bob(device: &TestDevice) -> Self {
        let mut client = Self::start(device, "xterm");
        client.until("> ");
        client.press("/dm bob\r");
        client.until("no messages yet");
        client.until("bob> ");
        client
    }

    /// Sends the first message to Bob, waits until it is stored, and quits.
    fn send_first_and_quit(mut self, text: &str) {
        self.press(&format!("{text}\r"));
        self.until("#1 alice: ");
        self.quit();
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `part` appears in the output after the previous match. Returns the output
    /// between the two matches.
    pub(super) fn until(&mut self, part: &str) -> String {
        while !self.unmatched.contains(part) {
            match self.output.recv_timeout(WAIT_TIMEOUT) {
                Ok(bytes) => self.append(&bytes),
                Err(_) => panic!("no {part:?} in {:?}", self.unmatched),
            }
        }
        let end = self.unmatched.find(part).unwrap() + part.len();
        let mut skipped: String = self.unmatched.drain(..end).collect();
        skipped.truncate(skipped.len() - part.len());
        skipped
    }

    /// Decodes output. A read can end in the middle of a character, whose bytes wait for the rest.
    fn append(&mut self, bytes: &[u8]) {
        self.undecoded.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.undecoded) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.undecoded.len(),
        };
        let decoded: Vec<u8> = self.undecoded.drain(..whole).collect();
        self.unmatched.push_str(&String::from_utf8_lossy(&decoded));
    }

    /// Returns whether the terminal is in the mode of the shell: with echo, lines and signals.
    pub(super) fn is_in_line_mode(&self) -> bool {
        let wanted = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        tcgetattr(&self.keyboard).unwrap().local_flags.contains(wanted)
    }

    /// Sets the mode of a shell, as a shell does when its job has stopped.
    fn set_line_mode(&self) {
        let mut mode = tcgetattr(&self.keyboard).unwrap();
        mode.local_flags |= LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        tcsetattr(&self.keyboard, SetArg::TCSANOW, &mode).unwrap();
    }

    /// Waits until the client has stopped, and then continues it as a shell does at `fg`.
    fn continue_in_foreground(&self) {
        self.wait_until_stopped();
        self.set_line_mode();
        self.signal("CONT");
    }

    fn wait_until_stopped(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        let flags = WaitPidFlag::WUNTRACED | WaitPidFlag::WNOHANG;
        eventually("the client is stopped", || {
            matches!(waitpid(pid, Some(flags)), Ok(WaitStatus::Stopped(..)))
        });
    }

    /// Sends the client the signal with this name, such as `TERM`.
    pub(super) fn signal(&self, name: &str) {
        signal(self.child.id(), name, Reach::Process).unwrap();
    }

    /// Waits until the client ends. Returns its exit code, or `None` if a signal killed it.
    pub(super) fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the client ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }

    /// Quits the interactive client, which has to end with code 0.
    pub(super) fn quit(mut self) {
        self.press("/quit\r");
        assert_eq!(self.exit_code(), Some(0));
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
    client.until("#60 alice: line 60");
    client.quit();
    assert_eq!(bob.texts(&["alice"]), lines);
}

#[test]
fn terminal_stays_in_conversation_when_open_fails() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    for (command, answer) in [
        ("/dm nobody\r", "there is no user “nobody”"),
        (
            "/group nogroup\r",
            "you are in no group “nogroup”; /join nogroup joins a group",
        ),
        ("/join nogroup\r", "there is no group “nogroup” that you can see"),
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
    client.press("hello\r");
    client.until("✓ #1 bob");
    client.signal("TSTP"); // the terminal sends it for Ctrl-Z
    client.wait_until_stopped();
    client.signal("CONT");
    client.press("again\r");
    client.until("✓ #2 bob");
    client.quit();
    assert_eq!(bob.texts(&["alice"]), ["hello", "again"]);
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

#[test]
fn suspended_client_shows_the_typed_line_again() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    client.press("secret draft ");
    client.until("no messages yet");
    client.until("draft ");
    client.press("\u{1a}"); // Ctrl-Z
    client.continue_in_foreground();
    client.until("bob> secret draft ");
    // The match may be a line that was painted before the client was stopped.
    eventually("the editor reads again", || !client.is_in_line_mode());
    // SIGSTOP, unlike the signal of Ctrl-Z, cannot be handled: the client stops without restoring
    // the mode of the terminal.
    client.press("for ");
    client.until("for ");
    client.signal("STOP");
    client.continue_in_foreground();
    client.until("bob> secret draft for ");
    // The match may be a line that was painted before the client was stopped.
    eventually("the editor reads again", || !client.is_in_line_mode());
    client.send_first_and_quit("bob");
    assert_eq!(bob.texts(&["alice"]), ["secret draft for bob"]);
}

#[test]
fn stopped_or_terminated_client_leaves_the_terminal_in_the_mode_of_the_shell() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    client.press("half a line\u{1a}");
    client.wait_until_stopped();
    assert!(client.is_in_line_mode(), "while the client is stopped");
    client.signal("CONT");
    client.until("half a line");
    client.signal("TERM");
    assert_eq!(client.exit_code(), Some(143));
    assert!(client.is_in_line_mode(), "after SIGTERM");
}

#[test]
fn ended_session_ends_the_client_and_restores_the_terminal() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    let phone = server.device("alice", "phone");
    phone.ok(&["login"]);
    let devices = phone.json(&["devices"]);
    let other = devices.iter().find(|device| device["current"] == false).unwrap();
    phone.ok(&["devices", "revoke", other["device"].as_str().unwrap()]);
    client.until("chat-client: ");
    assert_eq!(client.exit_code(), Some(77));
    assert!(client.is_in_line_mode());
}

#[test]
fn password_prompt_restores_the_terminal() {
    let server = TestServer::new();
    let prompt = |label: &str| {
        let device = server.device("zoe", label);
        let mut command = device.command(&["register"]);
        command.env_remove("CHAT_PASSWORD");
        let mut client = Terminal::run(command);
        client.until("Password: ");
        eventually("the password is hidden", || !client.is_in_line_mode());
        client
    };
    let mut interrupted = prompt("interrupted");
    interrupted.press("\u{3}"); // Ctrl-C
    assert_eq!(interrupted.exit_code(), Some(130));
    assert!(interrupted.is_in_line_mode(), "after Ctrl-C");
    for (name, code) in [("TERM", 143), ("HUP", 129)] {
        let mut terminated = prompt(name);
        terminated.signal(name);
        assert_eq!(terminated.exit_code(), Some(code));
        assert!(terminated.is_in_line_mode(), "after SIG{name}");
    }
}

/// The prompt installs signal handlers, which stay installed. A command that handles no signals
/// must not ignore them because of that.
#[test]
fn signal_ends_a_command_after_its_password_was_typed() {
    let server = TestServer::new();
    let mut device = server.device("zoe", "zoe");
    // The system accepts the connection, and no server answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    device.server = silent.local_addr().unwrap();
    let mut command = device.command(&["--timeout", "300", "login"]);
    command.env_remove("CHAT_PASSWORD");
    let mut client = Terminal::run(command);
    client.until("Password: ");
    eventually("the password is hidden", || !client.is_in_line_mode());
    client.press("correct horse battery\r");
    let connected = silent.accept().unwrap();
    client.signal("INT");
    assert_eq!(client.exit_code(), Some(130));
    drop(connected);
}

#[test]
fn pasted_commands_are_not_executed_in_part() {
    let server = TestServer::new();
    let [alice, bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    let paste = |text: &str| format!("\u{1b}[200~{text}\u{1b}[201~\r");
    client.press(&paste("/add carol\rthe second line"));
    client.until("nothing was executed");
    client.press(&paste("/dm bob one\r/two"));
    client.until("#1 alice: one");
    client.press(&paste("three\rfour"));
    client.until("#2 alice: three");
    client.quit();
    assert_eq!(bob.texts(&["alice"]), ["one\n/two", "three\nfour"]);
}

/// A terminal that becomes narrower shows the line in more rows; all of them are cleared.
#[test]
fn resized_terminal_keeps_no_copies_of_the_typed_line() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut client = Terminal::with_bob(&alice);
    let line = "x".repeat(100);
    client.press(&line);
    client.until(&line);
    let size = rustix::termios::Winsize {
        ws_row: 50,
        ws_col: 40,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&client.keyboard, size).unwrap();
    client.signal("WINCH");
    // The 105 characters of prompt and text take three rows of 40 columns, so the cursor goes up by
    // two rows to the first.
    client.until("\u{1b}[2A\r\u{1b}[J");
    client.until(&line);
}

#[test]
fn short_password_is_refused_before_it_is_typed_again() {
    let server = TestServer::new();
    let device = server.device("zoe", "zoe");
    let mut command = device.command(&["register"]);
    command.env_remove("CHAT_PASSWORD");
    let mut client = Terminal::run(command);
    client.until("Password: ");
    client.press("short\r");
    client.until("at least 8 bytes");
    assert_eq!(client.exit_code(), Some(2));
}

#[test]
fn list_on_a_terminal_names_its_columns() {
    let server = TestServer::new();
    let [alice, _bob] = server.friends(["alice", "bob"]);
    let mut list = Terminal::run(alice.command(&["friend", "list"]));
    list.until("id display name, state\r\nbob ");
    assert_eq!(list.exit_code(), Some(0));
    assert!(
        alice.ok(&["friend", "list"]).starts_with("bob "),
        "a script gets no heading"
    );
}
