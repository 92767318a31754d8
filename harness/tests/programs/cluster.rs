//! `cluster`, on real processes.

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

use super::{run, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cluster");
/// Maximum time to wait for anything.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the path of the server, which is built separately.
fn server() -> PathBuf {
    let server = chat_harness::binary("chat-server", Path::new(PROGRAM).with_file_name("chat-server"));
    assert!(
        server.is_file(),
        "{} does not exist; build it: cargo build -p chat-server-bin (scripts/test does)",
        server.display()
    );
    server
}

struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    directory: tempfile::TempDir,
}

impl Running {
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

    fn tell(&self, words: &str) -> (Option<i32>, String) {
        let directory = self.directory.path().display().to_string();
        let output = run(PROGRAM, std::iter::once(directory.as_str()).chain(words.split(' ')));
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    #[track_caller]
    fn does(&self, words: &str) {
        assert_eq!(self.tell(words), (Some(0), String::new()), "{words}");
    }

    /// Returns the words of a status line.
    #[track_caller]
    fn status(&self, part: &str) -> Vec<String> {
        let (code, status) = self.tell("status");
        assert_eq!(code, Some(0));
        let line = status.lines().find(|line| line.starts_with(part));
        let line = line.unwrap_or_else(|| panic!("no {part} in {status}"));
        line[part.len()..].split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the address of a part from its URL, which begins with `scheme`.
    #[track_caller]
    fn address(&self, part: &str, scheme: &str) -> SocketAddr {
        let url = &self.status(part)[0];
        let rest = url.strip_prefix(scheme).unwrap();
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// Returns the directories of these processes in `/proc`.
    fn processes(&self, parts: &[&str]) -> Vec<PathBuf> {
        let process = |part: &&str| Path::new("/proc").join(&self.status(part)[2]);
        parts.iter().map(process).collect()
    }

    /// Returns the names of the files in the directory of the cluster.
    fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
        files.map(name).collect()
    }

    async fn person(&self, node: usize, name: &str) -> Peer {
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
        // Fails if the cluster has ended already. Its services end with it in any case.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn create_group(peer: &mut Peer, name: &str) -> ConversationId {
    let create =
        chat_core::model::Command::CreateGroup(NewGroup::new(GroupName::parse(name).unwrap()).history_visible(true));
    match peer.run(create).await.unwrap() {
        Outcome::Conversation(made) => made.id,
        other => panic!("{other:?}"),
    }
}

/// Sends a message. Returns the code of the refusal, if it is refused.
async fn say(peer: &mut Peer, group: ConversationId) -> Option<ReplyCode> {
    let send = chat_core::model::Command::Send {
        conversation: ConversationRef::Id(group),
        draft: Draft::text(MessageText::new("hello").unwrap()),
    };
    let answer = tokio::time::timeout(WAIT_TIMEOUT, peer.ask(RequestKind::Command(send)));
    answer.await.unwrap().unwrap().err().and_then(|failure| failure.code())
}

/// Sends messages until one is accepted: recovery from a fault takes time.
async fn say_until_taken(peer: &mut Peer, group: ConversationId) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while say(peer, group).await.is_some() {
        assert!(Instant::now() < deadline);
    }
}

/// Returns whether MariaDB greets the client instead of reporting an error (its packets have a
/// header of four bytes, then 0xff for an error).
fn is_accepted(stream: &mut TcpStream) -> bool {
    let mut packet = [0; 5];
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream.read_exact(&mut packet).unwrap();
    packet[4] != 0xff
}

/// Each command to Redis has its effect, seen by another client.
fn redis_commands_have_their_effect(running: &Running) {
    let redis = running.address("redis", "redis://");
    let ask = |words: &str| {
        let port = redis.port().to_string();
        let output = run("redis-cli", ["-p", &port].into_iter().chain(words.split(' ')));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask("SET probe 1"), "OK");
    running.does("redis flush");
    assert_eq!(ask("GET probe"), "");
    running.does("redis oom on");
    assert!(ask("SET probe 1").starts_with("OOM "));
    running.does("redis oom off");
    assert_eq!(ask("SET probe 1"), "OK");

    let listeners = || -> BTreeSet<String> {
        let list = ask("CLIENT LIST TYPE pubsub");
        let ids = list.lines().filter_map(|line| line.split(' ').next());
        ids.map(str::to_owned).collect()
    };
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let mut before = listeners();
    while before.is_empty() {
        assert!(Instant::now() < deadline);
        before = listeners();
    }
    let (code, printed) = running.tell("redis killpubsub");
    assert_eq!(code, Some(0));
    assert!(printed.ends_with(" connections ended\n"), "{printed}");
    assert!(before.is_disjoint(&listeners()));

    running.does("redis pause 600");
    assert_eq!(running.status("redis")[4], "paused");
    let mut asker = TcpStream::connect(redis).unwrap();
    asker.write_all(b"PING\r\n").unwrap();
    asker.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(asker.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let paused = "cluster: redis is paused; redis unpause ends the pause\n";
    assert_eq!(running.tell("redis flush"), (Some(1), paused.into()));
    running.does("redis unpause");
    let mut pong = [0; 7];
    asker.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    asker.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    assert_eq!(
        running.tell("redis unpause"),
        (Some(1), "cluster: redis is not paused\n".into())
    );

    running.does("stop redis");
    let stopped = "cluster: redis is stopped; continue it first (cont)\n";
    assert_eq!(running.tell("redis flush"), (Some(1), stopped.into()));
    running.does("cont redis");
    assert_eq!(ask("GET probe"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_its_effect() {
    let mut running = Running::start(&["--nodes", "2"]);
    let mut alice = running.person(1, "alice").await;
    let group = create_group(&mut alice, "stage").await;
    assert_eq!(say(&mut alice, group).await, None);

    // Processes.
    running.does("kill9 2");
    assert_eq!(running.status("node 2")[3], "ended");
    assert_eq!(running.tell("kill9 2"), (Some(1), "cluster: it has ended\n".into()));
    running.does("start 2");
    assert_eq!(running.tell("start 2"), (Some(1), "cluster: it has not ended\n".into()));
    running.does("stop 2");
    assert_eq!(running.status("node 2")[3], "stopped");
    running.does("cont 2");
    assert_eq!(running.tell("term 2"), (Some(0), "exit code 0".into()));
    running.does("start 2");
    drop(running.person(2, "bob").await);
    running.does("kill9 redis");
    running.does("start redis");
    running.does("kill9 mysql");
    running.does("start mysql");
    say_until_taken(&mut alice, group).await;

    // The network.
    running.does("partition 1 mysql");
    assert!(
        running
            .tell("status")
            .1
            .contains("link 1 mysql: up: frozen; down: frozen; ")
    );
    assert_eq!(say(&mut alice, group).await, Some(ReplyCode::TryAgain));
    running.does("heal");
    say_until_taken(&mut alice, group).await;
    running.does("link 2 redis refuse");
    let status = running.tell("status").1;
    assert!(status.contains("link 2 redis: up: clear; down: clear; "), "{status}");
    assert!(status.contains("; new ones are refused\n"), "{status}");
    running.does("heal");
    running.does("link 1 clients delay 100ms down");
    let started = Instant::now();
    assert_eq!(say(&mut alice, group).await, None);
    assert!(started.elapsed() >= Duration::from_millis(100));
    running.does("heal");
    assert!(!running.tell("status").1.contains("link"));

    redis_commands_have_their_effect(&running);
    say_until_taken(&mut alice, group).await;

    // The database.
    running.does("mysql readonly on");
    assert_eq!(say(&mut alice, group).await, Some(ReplyCode::TryAgain));
    running.does("mysql readonly off");
    say_until_taken(&mut alice, group).await;
    running.does("mysql maxconn 10");
    let database = running.address("mysql", "mysql://root@");
    let mut all: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(database).unwrap()).collect();
    assert!(all.iter_mut().any(|stream| !is_accepted(stream)));
    drop(all);
    // Until MariaDB knows that the clients have gone, it may accept no client, not even the
    // administrator.
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while running.tell("mysql maxconn 100").0 != Some(0) {
        assert!(Instant::now() < deadline);
    }
    let mut all: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(database).unwrap()).collect();
    assert!(all.iter_mut().all(is_accepted));
    drop(all);
    // A node whose new connections were refused meanwhile may have given the database up for a
    // moment.
    say_until_taken(&mut alice, group).await;
    let other = create_group(&mut alice, "backstage").await;
    running.does("mysql lockrow 600");
    assert_eq!(say(&mut alice, group).await, Some(ReplyCode::TryAgain));
    assert_eq!(say(&mut alice, other).await, None);
    running.does("stop mysql");
    let stopped = "cluster: mysql is stopped; continue it first (cont)\n";
    assert_eq!(running.tell("mysql lockrow 1"), (Some(1), stopped.into()));
    running.does("kill9 mysql");
    let ended = "cluster: mysql has ended; start it first\n";
    assert_eq!(running.tell("mysql lockrow 1"), (Some(1), ended.into()));
    running.does("start mysql");
    say_until_taken(&mut alice, group).await;

    // Commands that fail.
    for (words, says) in [
        ("disk full", "the cluster has no disk of its own; start it with --disk"),
        ("kill9 3", "there is no node 3: the nodes are 1 to 2"),
        ("partition 3 redis", "there is no node 3: the nodes are 1 to 2"),
        ("partition", "usage: partition NODE ENDPOINT [in|out]"),
    ] {
        assert_eq!(running.tell(words), (Some(1), format!("cluster: {says}\n")), "{words}");
    }
    let second = run(PROGRAM, ["up", &running.directory.path().display().to_string()]);
    assert_eq!(second.status.code(), Some(1));

    // All processes end with the cluster.
    let processes = running.processes(&["node 1", "redis", "mysql"]);
    running.does("quit");
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

/// A killed cluster leaves its socket and nothing else.
#[test]
fn all_processes_end_with_the_cluster() {
    let is_administrator = text(&run("id", ["-u"]).stdout).trim() == "0";
    for (name, code, left) in [
        ("KILL", None, vec!["control"]),
        ("TERM", Some(0), vec![]),
        ("HUP", Some(0), vec![]),
    ] {
        let mut options = vec!["--nodes", "1"];
        if is_administrator {
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

/// A node without its database starts slowly; the end of the cluster does not wait for it.
#[test]
fn running_command_does_not_delay_the_end() {
    let mut running = Running::start(&["--nodes", "1"]);
    running.does("kill9 1");
    running.does("stop mysql");
    let mut verb = Command::new(PROGRAM)
        .arg(running.directory.path())
        .args(["start", "1"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let data = running.directory.path().to_str().unwrap().to_owned();
    let starts = |process: std::io::Result<std::fs::DirEntry>| {
        let line = std::fs::read_to_string(process.unwrap().path().join("cmdline")).unwrap_or_default();
        line.contains("--data-dir") && line.contains(&data)
    };
    while !std::fs::read_dir("/proc").unwrap().any(starts) {
        assert!(Instant::now() < deadline);
    }
    let asked = Instant::now();
    signal(running.process.id(), "TERM", Reach::Process).unwrap();
    assert_eq!(running.process.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < WAIT_TIMEOUT / 2, "{:?}", asked.elapsed());
    assert_eq!(verb.wait().unwrap().code(), Some(1));
    while std::fs::read_dir("/proc").unwrap().any(starts) || running.files() != [""; 0] {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn wrong_usage_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().display().to_string();
    for (arguments, code, says) in [
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
        let printed = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(says), "{arguments:?}: {printed}");
    }
}
