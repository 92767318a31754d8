//! Tests of warnings for operators (few file descriptors, a full server, a lost identity key, an
//! event in the future, a missing PROXY header), and of the signal of a closed terminal.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use chat_core::clock::{Clock, SystemClock};
use chat_core::engine::Engine;
use chat_core::engine::operator::{CreateAccount, OperatorName};
use chat_core::model::{ConversationRef, DeviceId, Push, Timestamp, UserName};
use chat_core::prelude::Commands as _;
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use chat_store_sqlite::{Options, SqliteStore};

use super::faults::limited_server;
use super::support::{exit_code_and_log, program, run_program, signal, start, stderr, until_logged, until_ready};

const LISTEN: [&str; 2] = ["--listen", "sc1://127.0.0.1:0"];

/// Starts a server with `command` and waits until it is ready.
fn start_command(mut command: Command) -> (Child, SocketAddr, Fingerprint) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (address, fingerprint) = address_and_fingerprint(&until_ready(&mut child));
    (child, address, fingerprint)
}

fn address_and_fingerprint(lines: &[String]) -> (SocketAddr, Fingerprint) {
    let value = |prefix| lines.iter().find_map(|line| line.strip_prefix(prefix)).unwrap();
    let address = value("listening sc1 ").parse().unwrap();
    (address, value("fingerprint ").parse().unwrap())
}

/// Returns a command that starts the server in `directory` with this limit of open files.
fn command_with_open_files(directory: &Path, files: u32) -> Command {
    let mut command = Command::new(limited_server(directory, &format!("ulimit -n {files}")));
    command.current_dir(directory).args(LISTEN).stdin(Stdio::null());
    command
}

#[tokio::test]
async fn low_open_file_limit_warns_and_still_serves() {
    let directory = tempfile::tempdir().unwrap();
    let (child, address, fingerprint) = start_command(command_with_open_files(directory.path(), 64));
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(Peer::connect(address, fingerprint).await.unwrap());
    }
    peers[0].register("alice").await.unwrap();
    for peer in &mut peers {
        peer.login("alice").await.unwrap();
    }
    drop(peers);
    signal(&child, "TERM");
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("WARN") && log.contains("LimitNOFILE"), "{log}");
}

#[test]
fn too_low_open_file_limit_refuses_to_start() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command_with_open_files(directory.path(), 48);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Reads nothing if the server has exited, and a byte of its first line if it has started.
    if child.stdout.as_mut().unwrap().read(&mut [0]).unwrap() > 0 {
        child.kill().unwrap();
    }
    let (code, errors) = exit_code_and_log(child);
    assert_eq!(code, Some(69), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(
        last.starts_with("chat-server: the limit of 48 open files") && last.contains("ulimit -n"),
        "{errors}"
    );
    assert!(
        !directory.path().join("chat-data/chat.db").exists(),
        "nothing was created"
    );
}

#[tokio::test]
async fn full_server_logs_refusals_at_intervals() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program(directory.path(), &LISTEN);
    command.env("CHAT_LIMITS__MAX_CONNECTIONS", "1");
    let (child, address, fingerprint) = start_command(command);
    let first = Peer::connect(address, fingerprint).await.unwrap();
    for _ in 0..50 {
        let mut refused = TcpStream::connect(address).unwrap();
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0, "the connection is closed");
    }
    drop(first);
    signal(&child, "TERM");
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
    let warnings: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("the server has the maximum number of connections"))
        .collect();
    assert!((1..10).contains(&warnings.len()), "{log}");
    assert!(
        warnings[0].contains("WARN") && warnings[0].contains("max_connections"),
        "{log}"
    );
}

#[tokio::test]
async fn lost_identity_key_warns_if_clients_have_logged_in() {
    const WARNING: &str = "will refuse this server";
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("password"), chat_core::testkit::PASSWORD).unwrap();
    for arguments in [
        &["migrate"][..],
        &["user", "add", "alice", "--password-file", "password"],
    ] {
        let output = run_program(directory.path(), arguments);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    let (child, lines) = start(directory.path(), &LISTEN);
    let (address, fingerprint) = address_and_fingerprint(&lines);
    Peer::connect(address, fingerprint)
        .await
        .unwrap()
        .login("alice")
        .await
        .unwrap();
    signal(&child, "TERM");
    let (_, log) = exit_code_and_log(child);
    assert!(
        !log.contains(WARNING),
        "no client had pinned a key before the first start: {log}"
    );

    fs::remove_file(directory.path().join("chat-data/identity.pem")).unwrap();
    for is_key_new in [true, false] {
        let (child, lines) = start(directory.path(), &LISTEN);
        assert_ne!(address_and_fingerprint(&lines).1, fingerprint);
        signal(&child, "TERM");
        let (code, log) = exit_code_and_log(child);
        assert_eq!(code, Some(0), "{log}");
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains(WARNING));
        assert_eq!(warned, is_key_new, "{log}");
    }
}

#[tokio::test]
async fn sighup_does_not_stop_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, lines) = start(directory.path(), &LISTEN);
    let (address, fingerprint) = address_and_fingerprint(&lines);
    signal(&child, "HUP");
    until_logged(&mut child, "SIGHUP");
    let mut peer = Peer::connect(address, fingerprint).await.unwrap();
    peer.register("alice").await.unwrap();
    peer.login("alice").await.unwrap();
    signal(&child, "TERM");
    while !matches!(peer.next_push().await.unwrap(), Push::GoAway { .. }) {}
    // During the drain, SIGHUP does not count as the second signal.
    signal(&child, "HUP");
    until_logged(&mut child, "SIGHUP");
    drop(peer);
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("stopped") && !log.contains("before the drain ended"),
        "{log}"
    );
}

/// A clock that is a day ahead.
#[derive(Debug)]
struct TomorrowsClock;

impl Clock for TomorrowsClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + 86_400_000)
    }
}

/// An event in the future means that the clock was wrong when the event was written, or is wrong
/// now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_warns_of_an_event_that_lies_in_the_future() {
    const WARNING: &str = "the newest event in the store lies in the future";
    let directory = tempfile::tempdir().unwrap();
    for (clock, is_ahead) in [
        (Arc::new(SystemClock) as Arc<dyn Clock>, false),
        (Arc::new(TomorrowsClock), true),
    ] {
        let store = SqliteStore::open(directory.path().join("chat-data"), Options::default())
            .await
            .unwrap();
        let engine = Engine::builder(Arc::new(store)).clock(clock).build().await.unwrap();
        let name = if is_ahead { "alice" } else { "bob" };
        let account = CreateAccount::new(UserName::parse(name).unwrap());
        let operator = engine.operator(OperatorName::new("carol").unwrap());
        let user = operator.create_account(account).await.unwrap().id;
        let session = engine.session(user, DeviceId::random()).await.unwrap();
        session.send_text(ConversationRef::direct(user), "hello").await.unwrap();
        drop(session);
        engine.shutdown().await;
        drop((engine, operator));

        let (mut child, _) = start(directory.path(), &LISTEN);
        if is_ahead {
            let log = until_logged(&mut child, WARNING);
            let warning = log.lines().last().unwrap();
            assert!(
                warning.contains("WARN") && warning.contains("check the clocks"),
                "{warning}"
            );
        }
        signal(&child, "TERM");
        let (code, log) = exit_code_and_log(child);
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains(WARNING), "{log}");
    }
}

#[test]
fn connection_without_a_proxy_header_is_warned_of_unless_it_sends_nothing() {
    const WARNING: &str = "has no valid PROXY header";
    let directory = tempfile::tempdir().unwrap();
    let mut command = program(directory.path(), &["--listen", "sc1+proxy://127.0.0.1:0"]);
    command.env("CHAT_SERVER__TRUSTED_PROXIES", "127.0.0.1");
    let (mut child, address, _) = start_command(command);
    // The health check of a load balancer connects and sends nothing.
    drop(TcpStream::connect(address).unwrap());
    // A client that reaches the port directly sends no PROXY header.
    TcpStream::connect(address)
        .unwrap()
        .write_all(b"GET / HTTP/1.1\r\n")
        .unwrap();
    let before = until_logged(&mut child, WARNING);
    signal(&child, "TERM");
    let (code, after) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{after}");
    assert_eq!((before + &after).matches(WARNING).count(), 1, "{after}");
}
