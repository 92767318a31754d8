//! Support for the tests: a server, client devices, running processes, and a proxy that can drop
//! bytes and cut connections.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use chat_harness::ServerProcess;
use serde_json::Value;
use tempfile::TempDir;

/// Path of the client binary.
pub(crate) static CLIENT: LazyLock<PathBuf> =
    LazyLock::new(|| chat_harness::binary("chat-client", env!("CARGO_BIN_EXE_chat-client")));
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Maximum time to wait for a line or a condition.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A server on a free port, and the directory of its data and of the profiles of its clients.
pub(crate) struct TestServer {
    pub(crate) process: ServerProcess,
    directory: TempDir,
}

impl TestServer {
    pub(crate) fn new() -> Self {
        Self::with_settings(&[])
    }

    /// Starts a server whose environment also has the variables `settings`.
    pub(crate) fn with_settings(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = ServerProcess::start(&server_program(), &directory.path().join("data"), settings).unwrap();
        Self { process, directory }
    }

    /// Registers a user. Returns the user's first device, which has a new profile.
    pub(crate) fn register(&self, name: &str) -> TestDevice {
        let device = self.device(name, name);
        device.ok(&["register"]);
        device
    }

    /// Returns a device of the user `name` with the profile `profile`. The device is logged in only
    /// if that profile already has a session.
    pub(crate) fn device(&self, name: &str, profile: &str) -> TestDevice {
        TestDevice {
            name: name.to_owned(),
            profile: self.directory.path().join("profiles").join(profile),
            server: self.process.address(),
        }
    }

    /// Registers users and makes them all friends of each other. Returns their first devices.
    pub(crate) fn friends<const N: usize>(&self, names: [&str; N]) -> [TestDevice; N] {
        let devices = names.map(|name| self.register(name));
        for (index, requester) in devices.iter().enumerate() {
            for accepter in &devices[index + 1..] {
                requester.ok(&["friend", "add", &accepter.name]);
                accepter.ok(&["friend", "accept", &requester.name]);
            }
        }
        devices
    }

    /// Returns the path of a file or directory in the directory of this server. It need not exist.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Returns the path of the server binary, which is beside the client binary.
pub(crate) fn server_program() -> PathBuf {
    let program = CLIENT.with_file_name("chat-server");
    assert!(
        program.exists(),
        "{} is missing; build it: cargo build -p chat-server-bin (scripts/test does)",
        program.display()
    );
    program
}

/// One device of one user.
#[derive(Clone)]
pub(crate) struct TestDevice {
    pub(crate) name: String,
    pub(crate) profile: PathBuf,
    pub(crate) server: SocketAddr,
}

impl TestDevice {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&*CLIENT);
        command
            .args(["--server", &self.server.to_string(), "--user", &self.name, "--profile"])
            .arg(&self.profile)
            .args(arguments)
            .env("CHAT_PASSWORD", PASSWORD)
            .env_remove("NO_COLOR")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed. Returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {errors}", self.name);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command with `--json`, which has to succeed. Returns the printed objects.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<_> = ["--json"].iter().chain(arguments).copied().collect();
        parse(&self.ok(&arguments))
    }

    /// Runs a command that has to fail with this exit code. Returns its standard error.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{} {arguments:?}: {errors}",
            self.name
        );
        errors
    }

    /// Returns the texts of all messages of a conversation, in order.
    pub(crate) fn texts(&self, conversation: &[&str]) -> Vec<String> {
        let mut arguments = vec!["history", "--after", "0"];
        arguments.extend(conversation);
        texts(&self.json(&arguments))
    }

    /// Runs `listen` for 1.5 s. Returns the texts of the messages that other devices sent and this
    /// device had not acknowledged, and acknowledges them.
    pub(crate) fn missed(&self) -> Vec<String> {
        texts(&self.json(&["listen", "--timeout", "1.5"]))
    }

    /// Starts a command and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> RunningProcess {
        RunningProcess::start(self.command(arguments))
    }
}

/// Parses the JSON objects of a text with one object per line.
pub(crate) fn parse(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the texts of the messages among `events`.
pub(crate) fn texts(events: &[Value]) -> Vec<String> {
    let messages = events.iter().filter(|event| event["event"] == "message");
    messages
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect()
}

/// A running process whose output is read line by line. Dropping it kills the process.
pub(crate) struct RunningProcess {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    /// Lines of the standard error.
    errors: mpsc::Receiver<String>,
}

/// Starts a thread that reads lines. Returns the receiver of the lines.
fn read_lines(output: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .all(|line| sender.send(line).is_ok())
    });
    lines
}

impl RunningProcess {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            lines: read_lines(child.stdout.take().unwrap()),
            errors: read_lines(child.stderr.take().unwrap()),
            child,
        }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Returns the next line of the standard output.
    pub(crate) fn next_line(&self) -> String {
        let line = self.lines.recv_timeout(WAIT_TIMEOUT);
        line.unwrap_or_else(|_| {
            panic!(
                "no other line; errors: {:#?}",
                self.errors.try_iter().collect::<Vec<_>>()
            )
        })
    }

    /// Reads lines of the standard output until one contains `part`. Returns that line.
    pub(crate) fn until(&self, part: &str) -> String {
        Self::find(&self.lines, part).unwrap_or_else(|seen| {
            panic!(
                "no {part:?} in {seen:#?}; errors: {:#?}",
                self.errors.try_iter().collect::<Vec<_>>()
            )
        })
    }

    /// Reads lines of the standard error until one contains `part`. Returns that line.
    pub(crate) fn until_error(&self, part: &str) -> String {
        Self::find(&self.errors, part).unwrap_or_else(|seen| panic!("no {part:?} in the errors {seen:#?}"))
    }

    /// Reads lines until one contains `part`. Returns that line, or the lines that it has read if
    /// the output ends or [`WAIT_TIMEOUT`] passes first.
    fn find(lines: &mpsc::Receiver<String>, part: &str) -> Result<String, Vec<String>> {
        let deadline = Instant::now() + WAIT_TIMEOUT;
        let mut seen = Vec::new();
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return Ok(line);
            }
            seen.push(line);
        }
        Err(seen)
    }

    /// Closes the input and waits until the process ends. Returns the exit code and the remaining
    /// lines of the standard output.
    pub(crate) fn finish(mut self) -> (Option<i32>, Vec<String>) {
        drop(self.input.take());
        let lines = self.lines.iter().collect();
        (self.child.wait().unwrap().code(), lines)
    }

    /// Closes the standard input of the process.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for RunningProcess {
    fn drop(&mut self) {
        let _ = self.child.kill(); // the process may have ended by itself
        let _ = self.child.wait();
    }
}

/// Polls until the condition holds. Panics after [`WAIT_TIMEOUT`]; `what` describes the condition.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {WAIT_TIMEOUT:?}: {what}");
        thread::yield_now();
    }
}

/// A TCP proxy that can drop what the server or the client sends, and cut connections.
pub(crate) struct DroppingProxy {
    pub(crate) address: SocketAddr,
    drop_server_bytes: Arc<AtomicBool>,
    drop_client_bytes: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl DroppingProxy {
    /// Starts a proxy that forwards to `server`.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            drop_server_bytes: Arc::default(),
            drop_client_bytes: Arc::default(),
            streams: Arc::default(),
        };
        let (drop_server_bytes, streams) = (Arc::clone(&proxy.drop_server_bytes), Arc::clone(&proxy.streams));
        let drop_client_bytes = Arc::clone(&proxy.drop_client_bytes);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                streams.lock().unwrap().extend(both);
                let (up, down) = (
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                );
                let drop_client_bytes = Arc::clone(&drop_client_bytes);
                thread::spawn(move || forward(up.0, up.1, &drop_client_bytes));
                let drop_server_bytes = Arc::clone(&drop_server_bytes);
                thread::spawn(move || forward(down.0, down.1, &drop_server_bytes));
            }
        });
        proxy
    }

    /// Starts or stops dropping all bytes that the server sends.
    pub(crate) fn drop_server_bytes(&self, enabled: bool) {
        self.drop_server_bytes.store(enabled, Ordering::SeqCst);
    }

    /// Drops all bytes that the client sends from now on: the server still pushes events, and
    /// answers nothing.
    pub(crate) fn drop_client_bytes(&self) {
        self.drop_client_bytes.store(true, Ordering::SeqCst);
    }

    /// Ends every present connection. The proxy still accepts new ones.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // the connection may be closed already
        }
    }
}

/// Copies bytes from `from` to `to` until one of them is closed, and then closes `to`. Drops the
/// bytes while `is_dropping` is set.
fn forward(mut from: TcpStream, mut to: TcpStream, is_dropping: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer)
        && read > 0
    {
        if !is_dropping.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both); // the connection may be closed already
}
