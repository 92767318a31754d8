//! Tests of `chaosproxy`, in front of a server that echoes its input.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chat_harness::process::{Reach, signal};

use super::{run, utf8};

const PROGRAM: &str = env!("CARGO_BIN_EXE_chaosproxy");
/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// Time after which bytes that have not arrived are assumed to be held back or lost.
const QUIET_TIME: Duration = Duration::from_millis(200);

/// Starts a server that echoes its input until the test program ends. Returns its address.
fn start_echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut &stream));
        }
    });
    address
}

/// A running `chaosproxy`.
struct Running {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Address that the proxy listens on, for each route.
    addresses: Vec<SocketAddr>,
}

impl Running {
    /// Starts the program and waits until it is ready. `control` is the path of its control socket.
    fn start(routes: &[String], control: &Path) -> Self {
        let mut process = Command::new(PROGRAM)
            .args(routes)
            .arg("--control")
            .arg(control)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut running = Self {
            process,
            input,
            output: BufReader::new(output),
            addresses: Vec::new(),
        };
        loop {
            let line = running.read_line();
            match line.strip_prefix("listening ") {
                Some(rest) => running.addresses.push(rest.split(' ').next().unwrap().parse().unwrap()),
                None => break assert_eq!(line, "ready"),
            }
        }
        running
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn connect(&self, route: usize) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[route]).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This fails if the proxy has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a command to a running proxy through `control`. Returns the exit code and the output.
fn tell(control: &Path, words: &str) -> (Option<i32>, String) {
    let words = words.split(' ').map(str::to_owned);
    let output = run(
        PROGRAM,
        ["tell".to_owned(), control.display().to_string()]
            .into_iter()
            .chain(words),
    );
    (output.status.code(), utf8(&output.stdout) + &utf8(&output.stderr))
}

/// Sends a text and receives its echo. Returns the time that this took.
fn exchange(stream: &mut TcpStream, sent: &str) -> Duration {
    let started = Instant::now();
    stream.write_all(sent.as_bytes()).unwrap();
    let mut received = vec![0; sent.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(utf8(&received), sent);
    started.elapsed()
}

fn assert_receives_nothing(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(QUIET_TIME)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
}

#[test]
fn commands_impair_the_connections_of_their_routes() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("control");
    let server = start_echo_server();
    let routes = [format!("127.0.0.1:0={server}"), format!("127.0.0.1:0={server}")];
    let running = Running::start(&routes, &control);
    let ok = |words: &str| assert_eq!(tell(&control, words), (Some(0), String::new()), "{words}");
    let (mut one, mut other) = (running.connect(0), running.connect(1));
    exchange(&mut one, "hello");

    ok("delay 150ms down");
    assert!(exchange(&mut one, "late") >= Duration::from_millis(150));
    let (code, status) = tell(&control, "@1 status");
    assert_eq!(code, Some(0));
    let expected = format!(
        "@1 {} to {server}: up: clear; down: delay 150ms; ",
        running.addresses[0]
    );
    assert!(status.starts_with(&expected), "{status}");
    ok("heal");

    ok("@2 freeze up");
    other.write_all(b"held").unwrap();
    assert_receives_nothing(&mut other);
    exchange(&mut one, "the other route is free");
    ok("heal");
    let mut held = [0; 4];
    other.read_exact(&mut held).unwrap();
    assert_eq!(&held, b"held");

    ok("cut 3 down");
    one.write_all(b"abcdef").unwrap();
    let mut rest = Vec::new();
    one.read_to_end(&mut rest).unwrap();
    assert_eq!(utf8(&rest), "abc");
    ok("heal");

    ok("@2 drop down");
    other.write_all(b"gone").unwrap();
    assert_receives_nothing(&mut other);
    ok("heal");
    assert_eq!(other.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let mut third = running.connect(0);
    exchange(&mut third, "third");
    ok("reset");
    assert_eq!(third.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    ok("refuse");
    let refused = TcpStream::connect(running.addresses[0]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    ok("heal");
    ok("slice 1");
    exchange(&mut running.connect(0), "piece by piece");

    for (words, expected) in [
        (
            "melt",
            "chaosproxy: unknown command \"melt\"; help lists the commands\n",
        ),
        (
            "delay -1s",
            "chaosproxy: -1s is not a time like 50ms or 1.5s, up to 3600s\n",
        ),
        ("@3 heal", "chaosproxy: there is no route @3: the routes are @1 to @2\n"),
    ] {
        assert_eq!(tell(&control, words), (Some(1), expected.to_owned()));
    }
}

#[test]
fn proxy_executes_commands_from_its_input_and_ends_on_quit() {
    let directory = tempfile::tempdir().unwrap();
    let control = directory.path().join("control");
    let route = [format!("127.0.0.1:0={}", start_echo_server())];
    let mut running = Running::start(&route, &control);
    writeln!(running.input, "delay 20ms").unwrap();
    assert_eq!(running.read_line(), "ok");
    writeln!(running.input, "status").unwrap();
    assert!(running.read_line().contains("up: delay 20ms; down: delay 20ms;"));
    writeln!(running.input, "quit").unwrap();
    assert_eq!(running.process.wait().unwrap().code(), Some(0));
    assert!(!control.exists());

    for name in ["INT", "TERM"] {
        let mut running = Running::start(&route, &control);
        signal(running.process.id(), name, Reach::Process).unwrap();
        assert_eq!(running.process.wait().unwrap().code(), Some(0), "{name}");
        assert!(!control.exists());
    }

    let mut running = Running::start(&route, &control);
    assert_eq!(tell(&control, "quit"), (Some(0), String::new()));
    assert_eq!(running.process.wait().unwrap().code(), Some(0));

    // A killed proxy leaves its socket, which the next proxy replaces. Two running proxies cannot
    // use the same socket.
    let mut killed = Running::start(&route, &control);
    killed.process.kill().unwrap();
    killed.process.wait().unwrap();
    assert!(control.exists());
    let running = Running::start(&route, &control);
    let second = run(
        PROGRAM,
        [route[0].as_str(), "--control", &control.display().to_string()],
    );
    assert_eq!(second.status.code(), Some(1));
    exchange(&mut running.connect(0), "the first one continues");

    // A file that is not a socket belongs to another program and must be kept.
    let file = directory.path().join("letter");
    std::fs::write(&file, "dear").unwrap();
    let third = run(PROGRAM, [route[0].as_str(), "--control", &file.display().to_string()]);
    assert_eq!(third.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear");
}

#[test]
fn error_explains_missing_and_wrong_arguments() {
    for (arguments, code, expected) in [
        (vec![], 2, "LISTEN=SERVER"),
        (vec!["127.0.0.1:0"], 2, "write LISTEN=SERVER"),
        (vec!["here=127.0.0.1:1"], 2, "here is not an IP address with a port"),
        (vec!["tell", "/nowhere/control"], 2, "WORD"),
        (
            vec!["tell", "/nowhere/control", "heal"],
            1,
            "chaosproxy: no proxy answers on /nowhere/control: ",
        ),
        (
            vec!["127.0.0.1:0=127.0.0.1"],
            1,
            "chaosproxy: cannot resolve 127.0.0.1: ",
        ),
        (
            vec!["192.0.2.1:1=127.0.0.1:1"],
            1,
            "chaosproxy: cannot listen on 192.0.2.1:1: ",
        ),
    ] {
        let output = run(PROGRAM, &arguments);
        let printed = utf8(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
}
