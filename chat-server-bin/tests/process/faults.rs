//! Tests of the program with a full disk, more connections than file descriptors, unwritable
//! directories or a second signal, and of secrets in its logs.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chat_core::codec::{Answer, Failure, RequestKind, body};
use chat_core::commands::Commands;
use chat_core::model::{
    Command, ConversationRef, Draft, EventBody, HistoryEvent, MessageText, Outcome, Page, Push, ReplyCode, Secret, Seq,
    UserName, UserRef,
};
use chat_core::secure::Fingerprint;
use chat_core::testkit::Peer;
use chat_harness::ServerProcess;

use super::support::{PROGRAM, exit_code_and_log, program, run_program, signal, start, stderr};

/// Maximum time to wait for an expected event.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Writes a script that sets resource limits and then runs the server. Returns its path.
pub(super) fn limited_server(directory: &Path, limits: &str) -> PathBuf {
    let script = directory.join("limited-server");
    fs::write(
        &script,
        format!("#!/bin/sh\n{limits}\nexec '{}' \"$@\"\n", PROGRAM.display()),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

/// Returns the direct conversation of a user with the same user, which holds the user's notes.
fn own_notes(name: &str) -> ConversationRef {
    ConversationRef::Direct(UserRef::Name(UserName::parse(name).unwrap()))
}

fn send_note(text: &str) -> RequestKind {
    RequestKind::Command(Command::Send {
        conversation: own_notes("alice"),
        draft: Draft::text(MessageText::new(text).unwrap()),
    })
}

/// Connects and logs in Alice.
async fn log_in_alice(server: &ServerProcess) -> Peer {
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    peer.login("alice").await.unwrap();
    peer
}

/// Reads all of Alice's notes.
async fn notes(peer: &mut Peer) -> Vec<String> {
    let mut texts = Vec::new();
    let mut after = Seq::ZERO;
    loop {
        let commands = peer.commands();
        let page = commands
            .history(own_notes("alice"), Page::after(after, 100))
            .await
            .unwrap();
        let Some(last) = page.events.last() else {
            return texts;
        };
        after = last.event.seq;
        for HistoryEvent { event, .. } in &page.events {
            if let EventBody::Message(message) = body::decode(event.kind, &event.body).unwrap() {
                texts.push(message.text);
            }
        }
    }
}

#[tokio::test]
async fn full_disk_refuses_messages_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    // No file may grow beyond about 2 MiB: further writes fail as on a full disk.
    let program = limited_server(directory.path(), "trap '' XFSZ\nulimit -f 4096");
    let server = ServerProcess::start(&program, &data, &[]).unwrap();
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    peer.register("alice").await.unwrap();
    peer.login("alice").await.unwrap();

    let mut acked = Vec::new();
    let refusal = loop {
        let text = format!("{} {}", acked.len(), "x".repeat(15_000));
        match peer.ask(send_note(&text)).await.expect("the server still runs") {
            Ok(Answer::Outcome(Outcome::Appended(_))) => acked.push(text),
            Err(refusal) => break refusal,
            Ok(other) => panic!("not an acknowledgement: {other:?}"),
        }
        assert!(acked.len() < 1000, "the limit has no effect");
    };
    assert_eq!(refusal.code(), Some(ReplyCode::TryAgain), "{refusal:?}");
    assert!(acked.len() > 10, "{}", acked.len());
    assert_eq!(notes(&mut peer).await, acked, "reading continues");
    drop((peer, server));

    let server = ServerProcess::start(&PROGRAM, &data, &[]).unwrap();
    let mut peer = log_in_alice(&server).await;
    assert_eq!(
        notes(&mut peer).await,
        acked,
        "nothing acknowledged is lost, nothing refused is stored"
    );
    assert!(peer.ask(send_note("there is room again")).await.unwrap().is_ok());
}

#[tokio::test]
async fn more_connections_than_file_descriptors_keep_sessions_alive() {
    let directory = tempfile::tempdir().unwrap();
    let program = limited_server(directory.path(), "ulimit -n 128");
    let data = directory.path().join("data");
    let server = ServerProcess::start(
        &program,
        &data,
        &[
            ("CHAT_LIMITS__MAX_CONNECTIONS", "1000"), // more than the limit of open files allows
            ("CHAT_LIMITS__MAX_UNAUTHENTICATED_PER_SOURCE", "1000"),
            ("CHAT_LIMITS__CONNECTION_RATE_PER_SOURCE", "10000/1s"),
        ],
    )
    .unwrap();
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    peer.register("alice").await.unwrap();
    peer.login("alice").await.unwrap();
    let connections: Vec<TcpStream> = (0..200)
        .filter_map(|_| TcpStream::connect(server.address()).ok())
        .collect();
    assert!(connections.len() > 128);
    for n in 0..20 {
        let answer = peer.ask(send_note(&format!("note {n}"))).await.unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
    drop(connections);
    let deadline = Instant::now() + WAIT_TIMEOUT;
    let mut second = loop {
        match Peer::connect(server.address(), server.fingerprint()).await {
            Ok(peer) => break peer,
            Err(error) => assert!(Instant::now() < deadline, "no connection is accepted: {error}"),
        }
    };
    second.login("alice").await.unwrap();
    assert_eq!(notes(&mut second).await.len(), 20);
}

#[test]
fn unwritable_data_directory_is_named_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    // Not even root can create the first directory, or files in the second one.
    for path in ["/proc/chat-data", "/sys/kernel"] {
        let output = run_program(directory.path(), &["--listen", "sc1://127.0.0.1:0", "--data-dir", path]);
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{errors}");
        assert!(
            errors.lines().last().unwrap().starts_with("chat-server: ") && errors.contains(path),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn second_signal_ends_the_drain() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ["--listen", "sc1://127.0.0.1:0"];
        let (mut child, lines) = start(directory.path(), &arguments);
        let address: SocketAddr = lines[0].strip_prefix("listening sc1 ").unwrap().parse().unwrap();
        let fingerprint: Fingerprint = lines[2].strip_prefix("fingerprint ").unwrap().parse().unwrap();
        let mut peer = Peer::connect(address, fingerprint).await.unwrap();
        peer.register("alice").await.unwrap();
        peer.login("alice").await.unwrap();
        let first = Instant::now();
        signal(&child, name);
        // The drain waits for clients to disconnect. This client stays connected.
        while !matches!(peer.next_push().await.unwrap(), Push::GoAway { .. }) {}
        while child.try_wait().unwrap().is_none() {
            assert!(first.elapsed() < Duration::from_secs(5), "the server exits at once");
            signal(&child, name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Signals in the first 500 ms do not count as a second one: a sender may send one signal to
        // the process and to its process group.
        assert!(first.elapsed() >= Duration::from_millis(500), "{:?}", first.elapsed());
        let (ended, log) = exit_code_and_log(child);
        assert_eq!(ended, Some(code), "{log}");
    }
}

#[tokio::test]
async fn logs_hold_no_secrets_at_any_level() {
    const BODY: &str = "canary-in-a-body";
    const PASSWORD: &str = "canary-as-a-password";
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    for format in ["text", "json"] {
        let mut child = program(directory.path(), &["--listen", "sc1://127.0.0.1:0"])
            .env("CHAT_LOG__LEVEL", "trace")
            .env("CHAT_LOG__FORMAT", format)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let lines = super::support::until_ready(&mut child);
        let address: SocketAddr = lines[0].strip_prefix("listening sc1 ").unwrap().parse().unwrap();
        let fingerprint: Fingerprint = lines[2].strip_prefix("fingerprint ").unwrap().parse().unwrap();
        let mut peer = Peer::connect(address, fingerprint).await.unwrap();
        if format == "text" {
            peer.register("alice").await.unwrap();
        }
        let logged_in = peer.login("alice").await.unwrap();
        peer.ask(send_note(BODY)).await.unwrap().unwrap();
        let change = Command::ChangePassword {
            old: Secret::new(PASSWORD),
            new: Secret::new(PASSWORD),
        };
        let refused: Failure = peer.ask(RequestKind::Command(change)).await.unwrap().unwrap_err();
        assert_eq!(refused.code(), Some(ReplyCode::BadCredentials));
        signal(&child, "TERM");
        drop(peer);
        assert_eq!(child.wait().unwrap().code(), Some(0));

        let log_text = fs::read_to_string(&log).unwrap();
        assert!(log_text.contains("logged in"), "{log_text}");
        let mut secrets = vec![
            BODY.to_owned(),
            PASSWORD.to_owned(),
            chat_core::testkit::PASSWORD.to_owned(),
        ];
        let tokens = [logged_in.session_token.as_ref(), logged_in.device_token.as_ref()];
        for token in tokens.into_iter().flatten().map(Secret::expose) {
            let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
            secrets.extend([hex, format!("{token:?}").trim_matches(['[', ']']).to_owned()]);
        }
        for secret in secrets {
            assert!(!log_text.contains(&secret), "{secret} is in the log");
        }
    }
}
