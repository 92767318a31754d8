//! Tests of the program `cluster`, which starts real servers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use chat_core::codec::RequestKind;
use chat_core::model::{ConversationId, ConversationRef, Draft, GroupName, MessageText, NewGroup, Outcome, ReplyCode};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use chat_harness::process::{Reach, signal};

use super::{run, utf8};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cluster");
/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the path of `chat-server`, which must have been built before.
fn server() -> PathBuf {
    let server = chat_harness::binary("chat-server", Path::new(PROGRAM).with_file_name("chat-server"));
    assert!(
        server.is_file(),
        "{} does not exist; build it: cargo build -p chat-server-bin (scripts/test does)",
        server.display()
    );
    server
}

/// A running cluster.
struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

impl Running {
    /// Starts the program in a new directory and waits until the cluster is ready.
    fn start(options: &[&str]) -> Self {
        server();
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(PROGRAM)
            .arg("up")
            .arg(directory.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while line != "ready\n" {
            line.clear();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "the cluster ended before it was ready"
            );
        }
        Self {
            process,
            output,
            directory,
        }
    }

    /// Sends a command to the cluster. Returns the exit code and the output.
    fn tell(&self, words: &str) -> (Option<i32>, String) {
        let directory = self.directory.path().display().to_string();
        let output = run(PROGRAM, std::iter::once(directory.as_str()).chain(words.split(' ')));
        (output.status.code(), utf8(&output.stdout) + &utf8(&output.stderr))
    }

    /// Sends a command that must succeed and print nothing.
    #[track_caller]
    fn execute(&self, words: &str) {
        assert_eq!(self.tell(words), (Some(0), String::new()), "{words}");
    }

    /// Returns the words of the status line that begins with `component`, without the component.
    /// The words of a server are its address or URL, `process`, its process id, the state of the
    /// process and, if it is a paused Redis, `paused`. The only word of `key` is the fingerprint.
    #[track_caller]
    fn status(&self, component: &str) -> Vec<String> {
        let (code, status) = self.tell("status");
        assert_eq!(code, Some(0));
        let line = status.lines().find(|line| line.starts_with(component));
        let line = line.unwrap_or_else(|| panic!("no {component} in {status}"));
        line[component.len()..].split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the address in the URL of a component. The URL begins with `prefix`, which the
    /// address follows.
    #[track_caller]
    fn address(&self, component: &str, prefix: &str) -> SocketAddr {
        let url = &self.status(component)[0];
        let rest = url.strip_prefix(prefix).unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// Returns the directories in `/proc` of the processes of `components`.
    fn processes(&self, components: &[&str]) -> Vec<PathBuf> {
        let process = |component: &&str| Path::new("/proc").join(&self.status(component)[2]);
        components.iter().map(process).collect()
    }

    /// Returns the names of the files in the directory of the cluster.
    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
        files.map(name).collect()
    }

    /// Registers a user on a node and logs in. Nodes count from 1.
    async fn new_user(&self, node: usize, name: &str) -> Peer {
        let server: SocketAddr = self.status(&format!("node {node}"))[0].parse().unwrap();
        let pin: Fingerprint = self.status("key")[0].parse().unwrap();
        let mut peer = Peer::connect(server, pin).await.unwrap();
        peer.register(name).await.unwrap();
        peer.login(name).await.unwrap();
        peer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This fails if the cluster has ended already. The services end with the cluster in any
        // case.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn create_group(peer: &mut Peer, name: &str) -> ConversationId {
    let mut group = NewGroup::new(GroupName::parse(name).unwrap());
    group.history_visible = true;
    let create = chat_core::model::Command::CreateGroup(group);
    match peer.run(create).await.unwrap() {
        Outcome::Conversation(group) => group.id,
        other => panic!("{other:?}"),
    }
}

/// Sends a message. Returns the code of the refusal, or `None` if the message is acknowledged (or
/// refused with a code that this version does not know).
async fn send(peer: &mut Peer, group: ConversationId) -> Option<ReplyCode> {
    let command = chat_core::model::Command::Send {
        conversation: ConversationRef::Id(group),
        draft: Draft::text(MessageText::new("hello").unwrap()),
    };
    let answer = tokio::time::timeout(WAIT_TIMEOUT, peer.ask(RequestKind::Command(command)));
    answer.await.unwrap().unwrap().err().and_then(|failure| failure.code())
}

/// Sends messages until one is acknowledged, because recovery from a fault takes time.
async fn send_until_accepted(peer: &mut Peer, group: ConversationId) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while send(peer, group).await.is_some() {
        assert!(Instant::now() < deadline);
    }
}

/// Returns whether MariaDB accepts a connection: in its first packet, the byte after the header of
/// four bytes is not 0xff, which marks an error.
fn is_accepted(stream: &mut TcpStream) -> bool {
    let mut packet = [0; 5];
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream.read_exact(&mut packet).unwrap();
    packet[4] != 0xff
}

/// Checks that each `redis` command has its effect, as another client observes it, and that a
/// paused or stopped Redis gets no command.
fn check_redis_commands(running: &Running) {
    let redis = running.address("redis", "redis://");
    let ask = |words: &str| {
        let port = redis.port().to_string();
        let output = run("redis-cli", ["-p", &port].into_iter().chain(words.split(' ')));
        utf8(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask("SET probe 1"), "OK");
    running.execute("redis flush");
    assert_eq!(ask("GET probe"), "");
    running.execute("redis oom on");
    assert!(ask("SET probe 1").starts_with("OOM "));
    running.execute("redis oom off");
    assert_eq!(ask("SET probe 1"), "OK");

    let subscribers = || -> BTreeSet<String> {
        let list = ask("CLIENT LIST TYPE pubsub");
        let ids = list.lines().filter_map(|line| line.split(' ').next());
        ids.map(str::to_owned).collect()
    };
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let mut before = subscribers();
    while before.is_empty() {
        assert!(Instant::now() < deadline);
        before = subscribers();
    }
    let (code, printed) = running.tell("redis killpubsub");
    assert_eq!(code, Some(0));
    assert!(printed.ends_with(" connections ended\n"), "{printed}");
    assert!(before.is_disjoint(&subscribers()));

    running.execute("redis pause 600");
    assert_eq!(running.status("redis")[4], "paused");
    let mut waiting_client = TcpStream::connect(redis).unwrap();
    waiting_client.write_all(b"PING\r\n").unwrap();
    waiting_client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(waiting_client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let paused = "cluster: redis is paused; redis unpause ends the pause\n";
    assert_eq!(running.tell("redis flush"), (Some(1), paused.into()));
    running.execute("redis unpause");
    let mut pong = [0; 7];
    waiting_client.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    waiting_client.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    assert_eq!(
        running.tell("redis unpause"),
        (Some(1), "cluster: redis is not paused\n".into())
    );

    running.execute("stop redis");
    let stopped = "cluster: redis is stopped; continue it first (cont)\n";
    assert_eq!(running.tell("redis flush"), (Some(1), stopped.into()));
    running.execute("cont redis");
    assert_eq!(ask("GET probe"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_have_their_effects_on_real_servers() {
    let mut running = Running::start(&["--nodes", "2"]);
    let mut alice = running.new_user(1, "alice").await;
    let group = create_group(&mut alice, "stage").await;
    assert_eq!(send(&mut alice, group).await, None);

    // Processes.
    running.execute("kill9 2");
    assert_eq!(running.status("node 2")[3], "ended");
    assert_eq!(
        running.tell("kill9 2"),
        (Some(1), "cluster: node 2 has ended; start it first (start)\n".into())
    );
    running.execute("start 2");
    assert_eq!(
        running.tell("start 2"),
        (
            Some(1),
            "cluster: node 2 has not ended; end it first (term, kill9)\n".into()
        )
    );
    running.execute("stop 2");
    assert_eq!(running.status("node 2")[3], "stopped");
    running.execute("cont 2");
    assert_eq!(running.tell("term 2"), (Some(0), "exit code 0".into()));
    running.execute("start 2");
    drop(running.new_user(2, "bob").await);
    running.execute("kill9 redis");
    running.execute("start redis");
    running.execute("kill9 mysql");
    running.execute("start mysql");
    send_until_accepted(&mut alice, group).await;

    // The network.
    running.execute("partition 1 mysql");
    assert!(
        running
            .tell("status")
            .1
            .contains("link 1 mysql: up: frozen; down: frozen; ")
    );
    assert_eq!(send(&mut alice, group).await, Some(ReplyCode::TryAgain));
    running.execute("heal");
    send_until_accepted(&mut alice, group).await;
    running.execute("link 2 redis refuse");
    let status = running.tell("status").1;
    assert!(status.contains("link 2 redis: up: clear; down: clear; "), "{status}");
    assert!(status.contains("; new connections are refused\n"), "{status}");
    running.execute("heal");
    running.execute("link 1 clients delay 100ms down");
    let started = Instant::now();
    assert_eq!(send(&mut alice, group).await, None);
    assert!(started.elapsed() >= Duration::from_millis(100));
    running.execute("heal");
    assert!(!running.tell("status").1.contains("link"));

    check_redis_commands(&running);
    send_until_accepted(&mut alice, group).await;

    // The database.
    running.execute("mysql readonly on");
    assert_eq!(send(&mut alice, group).await, Some(ReplyCode::TryAgain));
    running.execute("mysql readonly off");
    send_until_accepted(&mut alice, group).await;
    running.execute("mysql maxconn 10");
    let database = running.address("mysql", "mysql://root@");
    let mut all: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(database).unwrap()).collect();
    assert!(all.iter_mut().any(|stream| !is_accepted(stream)));
    drop(all);
    // Until MariaDB has noticed that the clients have disconnected, it may accept no connection,
    // not even of the administrator.
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while running.tell("mysql maxconn 100").0 != Some(0) {
        assert!(Instant::now() < deadline);
    }
    let mut all: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(database).unwrap()).collect();
    assert!(all.iter_mut().all(is_accepted));
    drop(all);
    // A node whose new connections to the database were refused may have become unready for a
    // moment.
    send_until_accepted(&mut alice, group).await;
    let other = create_group(&mut alice, "backstage").await;
    running.execute("mysql lockrow 600");
    assert_eq!(send(&mut alice, group).await, Some(ReplyCode::TryAgain));
    assert_eq!(send(&mut alice, other).await, None);
    running.execute("stop mysql");
    let stopped = "cluster: mysql is stopped; continue it first (cont)\n";
    assert_eq!(running.tell("mysql lockrow 1"), (Some(1), stopped.into()));
    running.execute("kill9 mysql");
    let ended = "cluster: mysql has ended; start it first (start)\n";
    assert_eq!(running.tell("mysql lockrow 1"), (Some(1), ended.into()));
    running.execute("start mysql");
    send_until_accepted(&mut alice, group).await;

    // Commands that fail.
    for (words, expected) in [
        (
            "disk full",
            "the cluster has no disk of limited size; start it with --disk",
        ),
        ("kill9 3", "there is no node 3: the nodes are 1 to 2"),
        ("partition 3 redis", "there is no node 3: the nodes are 1 to 2"),
        ("partition", "usage: partition NODE ENDPOINT [in|out]"),
    ] {
        assert_eq!(
            running.tell(words),
            (Some(1), format!("cluster: {expected}\n")),
            "{words}"
        );
    }
    let second = run(PROGRAM, ["up", &running.directory.path().display().to_string()]);
    assert_eq!(second.status.code(), Some(1));

    // All processes end with the cluster.
    let processes = running.processes(&["node 1", "redis", "mysql"]);
    running.execute("quit");
    assert_eq!(running.process.wait().unwrap().code(), Some(0));
    running.output.read_to_string(&mut String::new()).unwrap();
    for process in processes {
        assert!(!process.exists(), "{}", process.display());
    }
    assert_eq!(running.files(), [""; 0]);
    let (code, printed) = running.tell("status");
    assert_eq!(code, Some(1));
    assert!(printed.starts_with("cluster: no cluster runs in "), "{printed}");
}

/// The processes and files of a cluster disappear with it. Only a killed cluster leaves a file: its
/// control socket.
#[test]
fn processes_end_with_the_cluster() {
    let is_root = utf8(&run("id", ["-u"]).stdout).trim() == "0";
    for (name, code, left) in [
        ("KILL", None, vec!["control"]),
        ("TERM", Some(0), vec![]),
        ("HUP", Some(0), vec![]),
    ] {
        let mut options = vec!["--nodes", "1"];
        if is_root {
            options.extend(["--disk", "512M"]);
        }
        let mut running = Running::start(&options);
        let processes = running.processes(&["node 1", "redis", "mysql"]);
        signal(running.process.id(), name, Reach::Process).unwrap();
        assert_eq!(running.process.wait().unwrap().code(), code, "{name}");
        let deadline = Instant::now() + WAIT_TIMEOUT;
        while processes.iter().any(|process| process.exists()) || running.files() != left {
            assert!(Instant::now() < deadline, "{name}: {:?}", running.files());
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(running.directory.path().to_str().unwrap()));
    }
}

/// A node whose database is stopped takes long to start. The end of the cluster must not wait for
/// that.
#[test]
fn running_command_does_not_delay_the_end_of_the_cluster() {
    let mut running = Running::start(&["--nodes", "1"]);
    running.execute("kill9 1");
    running.execute("stop mysql");
    let mut start_command = Command::new(PROGRAM)
        .arg(running.directory.path())
        .args(["start", "1"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let data = running.directory.path().to_str().unwrap().to_owned();
    let is_starting_node = |process: std::io::Result<std::fs::DirEntry>| {
        let line = std::fs::read_to_string(process.unwrap().path().join("cmdline")).unwrap_or_default();
        line.contains("--data-dir") && line.contains(&data)
    };
    while !std::fs::read_dir("/proc").unwrap().any(is_starting_node) {
        assert!(Instant::now() < deadline);
    }
    let signalled_at = Instant::now();
    signal(running.process.id(), "TERM", Reach::Process).unwrap();
    assert_eq!(running.process.wait().unwrap().code(), Some(0));
    let elapsed = signalled_at.elapsed();
    assert!(elapsed < WAIT_TIMEOUT / 2, "{elapsed:?}");
    assert_eq!(start_command.wait().unwrap().code(), Some(1));
    while std::fs::read_dir("/proc").unwrap().any(is_starting_node) || running.files() != [""; 0] {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn error_explains_missing_and_wrong_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().display().to_string();
    for (arguments, code, expected) in [
        (vec![], 2, "Usage: cluster"),
        (vec![directory.as_str()], 2, "<COMMAND>..."),
        (vec!["up"], 2, "DIR"),
        (vec!["up", &directory, "--nodes", "0"], 2, "0 is not in 1..=16"),
        (
            vec!["up", &directory, "--program", "/nowhere"],
            1,
            "cluster: /nowhere does not exist",
        ),
        (vec![&directory, "heal"], 1, "cluster: no cluster runs in "),
    ] {
        let output = run(PROGRAM, &arguments);
        let printed = utf8(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
}
