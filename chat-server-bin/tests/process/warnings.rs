//! Tests of warnings for operators (few file descriptors, a full server, refused registrations and
//! logins, a lost identity key, an event in the future, a missing PROXY header), of log lines that
//! contain foreign text, and of the signal of a closed terminal.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use chat_core::clock::{Clock, SystemClock};
use chat_core::codec::{Hello, RequestKind};
use chat_core::engine::Engine;
use chat_core::engine::operator::{CreateAccount, OperatorName};
use chat_core::model::{
    ConversationRef, Description, DeviceId, GroupName, Login, NewGroup, Push, Registration, ReplyCode, Secret,
    Timestamp, UserName, UserRef,
};
use chat_core::prelude::Commands as _;
use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};
use chat_store_sqlite::{Options, SqliteStore};
use tokio::net::TcpSocket;

use super::faults::limited_server;
use super::support::{exit_code_and_log, program, run_program, signal, start, stderr, until_logged, until_ready};

const LISTEN: [&str; 2] = ["--listen", "sc1://127.0.0.1:0"];

/// Starts a server with `command` and waits until it is ready. Returns its process, its address and
/// the fingerprint of its key.
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
        "no store was created"
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

/// Connects from `source`, an address of this machine, which is a source of its own for the server.
async fn connect_from(source: &str, server: SocketAddr, fingerprint: Fingerprint) -> Peer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    Peer::sc1(socket.connect(server).await.unwrap(), fingerprint)
        .await
        .unwrap()
}

/// Starts a server whose limits and penalties apply to this machine too.
fn start_without_exemptions(directory: &Path) -> (Child, SocketAddr, Fingerprint) {
    let mut command = program(directory, &LISTEN);
    command.env("CHAT_LIMITS__EXEMPT_LOOPBACK", "false");
    command.env("CHAT_LIMITS__CONNECTION_RATE_PER_SOURCE", "10000/1s");
    command.env("CHAT_ACCOUNTS__LOGIN_RATE_PER_SOURCE", "10000/1s");
    start_command(command)
}

/// Ends the server. Returns the lines of its log that contain `text`.
fn stop_and_find(child: Child, text: &str) -> Vec<String> {
    signal(&child, "TERM");
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
    log.lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn refused_registrations_log_one_line_at_intervals() {
    const SOURCE: &str = "127.0.0.2";
    const REFUSALS: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let (child, address, fingerprint) = start_without_exemptions(directory.path());
    let mut peer = connect_from(SOURCE, address, fingerprint).await;
    let mut first_refusal = None;
    let mut refused = 0;
    for number in 0.. {
        let name = UserName::parse(&format!("person-{number}")).unwrap();
        let registration = Registration::new(name, Secret::new(PASSWORD));
        match peer.ask(RequestKind::Register(registration)).await.unwrap() {
            Ok(_) => assert!(number < 3, "the default is 3 registrations an hour"),
            Err(failure) => {
                assert_eq!(failure.code(), Some(ReplyCode::Throttled), "{failure:?}");
                first_refusal.get_or_insert_with(Instant::now);
                refused += 1;
            }
        }
        if refused == REFUSALS {
            break;
        }
    }
    let elapsed = first_refusal.unwrap().elapsed();
    let lines = stop_and_find(child, "logins or registrations refused");
    // One line, and on a very slow machine another one after each ten seconds.
    let expected = 1 + usize::try_from(elapsed.as_secs() / 10).unwrap();
    assert!((1..=expected).contains(&lines.len()), "{elapsed:?}: {lines:#?}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("\"refused\":1,") && lines[0].contains(SOURCE),
        "{lines:#?}"
    );
}

#[tokio::test]
async fn penalty_for_failed_logins_logs_one_line_for_each_source() {
    let sources = ["127.0.0.2", "127.0.0.3"];
    let directory = tempfile::tempdir().unwrap();
    let (child, address, fingerprint) = start_without_exemptions(directory.path());
    for source in sources {
        // Counts from the first login that is answered with the time to wait.
        let mut refused = 0;
        for number in 0.. {
            assert!(number < 30, "failed logins of {source} have no penalty");
            let mut peer = connect_from(source, address, fingerprint).await;
            // Each login is to another account, so that only the source reaches a limit.
            match peer.login(&format!("person-{number}")).await {
                Ok(_) => panic!("there is no such account"),
                Err(error) if error.to_string().contains("try again in") => refused += 1,
                Err(_) => assert_eq!(refused, 0, "after the first refusal, each further login is refused"),
            }
            if refused == 10 {
                break;
            }
        }
    }
    // Another source is not affected.
    let mut peer = connect_from("127.0.0.4", address, fingerprint).await;
    peer.register("alice").await.unwrap();
    peer.login("alice").await.unwrap();
    drop(peer);
    let lines = stop_and_find(child, "logins without a device token are refused");
    assert_eq!(lines.len(), sources.len(), "{lines:#?}");
    for (line, source) in lines.iter().zip(sources) {
        assert!(line.contains("WARN") && line.contains(source), "{lines:#?}");
    }
}

/// Text that would add a line to a log of either format, and clear the screen.
const FORGED_LINE: &str = "x\n2026-01-01T00:00:00Z ERROR chat_core: forged\n{\"level\":\"ERROR\"}\r\u{1b}[2J";

/// Sends [`FORGED_LINE`] as a packet, as the name of a device and of a client program, in a
/// message, and, without its escape character, in the description of a group.
async fn send_forged_lines(address: SocketAddr, fingerprint: Fingerprint) {
    let mut garbage = TcpStream::connect(address).unwrap();
    // The server may have closed the connection before it has read everything.
    let _ = garbage.write_all(FORGED_LINE.as_bytes());
    let mut peer = Peer::connect(address, fingerprint).await.unwrap();
    peer.register("alice").await.unwrap();
    let name = UserName::parse("alice").unwrap();
    let mut login = Login::new(name.clone(), Secret::new(PASSWORD), DeviceId::random());
    login.device_name = FORGED_LINE.to_owned();
    let refused = peer.ask(RequestKind::Login(login)).await.unwrap();
    assert!(refused.is_err(), "{refused:?}");
    peer.login("alice").await.unwrap();
    let notes = ConversationRef::Direct(UserRef::Name(name));
    peer.commands().send_text(notes, FORGED_LINE).await.unwrap();
    let mut group = NewGroup::new(GroupName::parse("rust").unwrap());
    group.description = Description::new(FORGED_LINE.replace('\u{1b}', "")).unwrap();
    peer.commands().create_group(group).await.unwrap();
    let hello = Hello {
        min_version: 1,
        max_version: 1,
        client: FORGED_LINE.to_owned(),
    };
    // The server refuses a second `Hello`, and may close the connection.
    let _ = peer.ask(RequestKind::Hello(hello)).await;
}

/// Returns the level of a line of a log, or an empty string if the line states none.
fn level(line: &str, format: &str) -> String {
    if format == "json" {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        object["level"].as_str().unwrap_or_default().to_owned()
    } else {
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        words.get(1).copied().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn foreign_text_cannot_forge_log_lines() {
    // The name of an operator may have these characters, which reverse the reading direction and
    // end a line in some viewers.
    const OPERATOR: &str = "mallory\u{202e}\u{2028}forged";
    for format in ["text", "json"] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = program(directory.path(), &LISTEN);
        command.env("CHAT_LOG__LEVEL", "trace");
        command.env("CHAT_LOG__FORMAT", format);
        let (mut child, address, fingerprint) = start_command(command);
        // The log is read meanwhile, because lines are lost while its pipe is full.
        let mut output = child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut log = String::new();
            output.read_to_string(&mut log).map(|_| log)
        });
        send_forged_lines(address, fingerprint).await;
        let add = ["user", "add", "bob", "--no-password", "--operator", OPERATOR];
        let added = run_program(directory.path(), &add);
        assert!(added.status.success(), "{}", stderr(&added));
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let log = reader.join().unwrap().unwrap();
        assert!(log.contains("logged in") && log.contains("mallory"), "{log}");
        let is_harmful = |c: char| c.is_control() || OPERATOR.contains(c) && !c.is_ascii();
        for line in log.lines() {
            // The forged lines have the level ERROR, with which the server logs nothing here.
            let level = level(line, format);
            let is_genuine = ["WARN", "INFO", "DEBUG", "TRACE"].contains(&level.as_str());
            assert!(is_genuine && !line.contains(is_harmful), "{line:?}");
        }
    }
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
