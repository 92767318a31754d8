//! Tests of operator commands while the server runs: they reach it through the admin socket.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use chat_core::codec::{Answer, RequestKind};
use chat_core::commands::Commands as _;
use chat_core::model::{CloseCode, DeviceId, GroupName, Login, NewGroup, Note, Push, Secret, UserName};
use chat_core::secure::Fingerprint;
use chat_core::testkit::{PASSWORD, Peer};
use serde_json::Value;

use super::support::{exit_code_and_log, program, run_program, signal, start, stderr, stdout};

const LISTEN: [&str; 2] = ["--listen", "sc1://127.0.0.1:0"];

/// A running server in its own directory.
struct Running {
    directory: tempfile::TempDir,
    child: Option<Child>,
    /// Lines that the server printed to standard output when it started.
    lines: Vec<String>,
}

impl Running {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (child, lines) = start(directory.path(), &LISTEN);
        Self {
            directory,
            child: Some(child),
            lines,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn socket(&self) -> PathBuf {
        self.path().join("chat-data/admin.sock")
    }

    /// Runs a command that has to succeed. Returns the lines that it prints.
    fn run(&self, arguments: &[&str]) -> Vec<String> {
        let output = program(self.path(), arguments)
            .env("CHAT_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output).lines().map(str::to_owned).collect()
    }

    /// Runs a command with `--json` that has to succeed. Returns the objects that it prints.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let lines = self.run(&[arguments, &["--json"]].concat());
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that has to be refused, with the exit code 1. Returns its error message.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = run_program(self.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        stderr(&output)
    }

    async fn connect(&self) -> Peer {
        let value = |prefix| self.lines.iter().find_map(|line| line.strip_prefix(prefix)).unwrap();
        let address = value("listening sc1 ").parse().unwrap();
        let fingerprint: Fingerprint = value("fingerprint ").parse().unwrap();
        Peer::connect(address, fingerprint).await.unwrap()
    }

    /// Connects and logs in the user with [`PASSWORD`].
    async fn log_in(&self, name: &str) -> std::io::Result<Peer> {
        let mut peer = self.connect().await;
        peer.login(name).await?;
        Ok(peer)
    }

    fn stop(mut self) -> String {
        let child = self.child.take().unwrap();
        signal(&child, "TERM");
        let (code, log) = exit_code_and_log(child);
        assert_eq!(code, Some(0), "{log}");
        assert!(!self.socket().exists(), "the socket remains");
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn close_code(peer: &mut Peer) -> CloseCode {
    let end = async {
        loop {
            if let Push::Closed(code) = peer.next_push().await.unwrap() {
                return code;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), end).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_managed_while_the_server_runs() {
    let server = Running::start();
    assert_eq!(server.run(&["user", "add", "alice"]), ["created user alice with id 1"]);
    assert_eq!(server.json(&["user", "list"])[0]["name"], "alice");
    let mut alice = server.log_in("alice").await.unwrap();
    let shown = server.json(&["user", "show", "alice"]);
    assert_eq!(shown[0]["devices"][0]["online"], true);
    server.run(&["user", "disable", "alice"]);
    assert_eq!(close_code(&mut alice).await, CloseCode::AccountDisabled);
    assert!(server.log_in("alice").await.is_err());
    server.run(&["user", "enable", "alice"]);
    let mut alice = server.log_in("alice").await.unwrap();
    server.run(&["user", "passwd", "alice"]);
    assert_eq!(close_code(&mut alice).await, CloseCode::Revoked);
    server.run(&["user", "rename", "alice", "alicia"]);
    server.log_in("alicia").await.unwrap();
    let exported = server.json(&["user", "export", "alicia"]);
    assert!(
        exported.iter().any(|record| record["record"] == "device"),
        "{exported:?}"
    );
    let refused = server.refused(&["user", "show", "nobody"]);
    assert!(refused.contains("user nobody does not exist"), "{refused}");
    server.run(&["user", "delete", "alicia", "--yes"]);
    let actions: Vec<Value> = server.json(&["audit"]);
    let system_user = system_user();
    let source = format!("chat-server run by {system_user}");
    assert!(actions.len() >= 7, "{actions:?}");
    assert!(
        actions
            .iter()
            .all(|record| record["source"] == source && record["operator"] == system_user),
        "{actions:?}"
    );
    server.stop();
}

/// A change of an account that takes long, such as a new password, for which a hash is computed,
/// must not overwrite what other changes have stored since it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_of_an_account_undo_none_of_each_other() {
    let server = Running::start();
    server.run(&["user", "add", "alice"]);
    let [mut name, mut next_name] = ["alice", "alicia"];
    for round in 0..8 {
        let password = format!("password of round {round}");
        let changes = [
            &["user", "passwd", "#1"][..],
            &["user", "disable", "#1"],
            &["user", "rename", "#1", next_name],
        ];
        let started = changes.map(|arguments| {
            let mut command = program(server.path(), arguments);
            command.env("CHAT_PASSWORD", &password);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        for (change, arguments) in started.into_iter().zip(changes) {
            let output = change.wait_with_output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        }
        std::mem::swap(&mut name, &mut next_name);
        let account = &server.json(&["user", "show", "#1"])[0];
        assert_eq!(account["disabled"], true, "round {round}: {account}");
        assert_eq!(account["name"], name, "round {round}: {account}");
        server.run(&["user", "enable", "#1"]);
        let mut peer = server.connect().await;
        let account = UserName::parse(name).unwrap();
        let login = Login::new(account, Secret::new(password), DeviceId::random());
        let answer = peer.ask(RequestKind::Login(login)).await.unwrap();
        assert!(matches!(answer, Ok(Answer::LoggedIn(_))), "round {round}: {answer:?}");
    }
    server.stop();
}

/// Returns the login name of the user who runs the tests.
fn system_user() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    stdout(&output).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_load_of_the_running_server_are_shown() {
    let server = Running::start();
    for name in ["alice", "bob"] {
        server.run(&["user", "add", name]);
    }
    assert!(server.run(&["session", "list"]).is_empty());
    let mut alice = server.log_in("alice").await.unwrap();
    let _bob = server.log_in("bob").await.unwrap();
    let sessions = server.json(&["session", "list"]);
    let names: Vec<&str> = sessions
        .iter()
        .map(|session| session["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
    assert_eq!(sessions[0]["address"], "127.0.0.1");
    assert_eq!(sessions[0]["state"], "online");
    assert!(sessions[0]["started_ms"].as_u64() > Some(0));
    assert_eq!(server.json(&["session", "list", "bob"]).len(), 1);
    let stats = &server.json(&["stats"])[0];
    assert_eq!((&stats["sessions"], &stats["ready"]), (&2.into(), &true.into()));
    assert_eq!(
        (&stats["store"], &stats["rows"]["accounts"]),
        (&"sqlite".into(), &2.into())
    );
    assert!(server.run(&["stats"]).contains(&"sessions 2".to_owned()));
    // Each key is unique, except for those of arrays, which have a line for each value.
    let keys = server.run(&["stats"]);
    let mut keys: Vec<&str> = keys.iter().map(|line| line.split(' ').next().unwrap()).collect();
    keys.retain(|key| !["listeners", "nodes"].contains(key));
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    server.run(&["session", "end", "alice"]);
    assert_eq!(close_code(&mut alice).await, CloseCode::Revoked);
    assert_eq!(server.json(&["stats"])[0]["sessions"], 1);
    server.stop();
    // Both commands also succeed if no server runs: `stats` reports that, and `session list` prints
    // no session.
    let directory = tempfile::tempdir().unwrap();
    assert!(run_program(directory.path(), &["migrate"]).status.success());
    let stats = run_program(directory.path(), &["stats"]);
    assert!(stdout(&stats).contains("running false"), "{}", stderr(&stats));
    let sessions = run_program(directory.path(), &["session", "list"]);
    assert_eq!((sessions.status.code(), stdout(&sessions)), (Some(0), String::new()));
}

/// A command that is configured for one store must not change another store, which the server that
/// runs on the data directory uses.
#[test]
fn command_for_another_store_is_refused() {
    let server = Running::start();
    let run = |store: &str| {
        program(server.path(), &["user", "list"])
            .env("CHAT_STORE__URL", store)
            .output()
            .unwrap()
    };
    let refused = run("mysql://chat:secret@db.example/staging");
    let error = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(
        error.contains("mysql://db.example/staging") && error.contains("sqlite:"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
    assert!(
        run(&format!("sqlite:{}", server.path().join("chat-data").display()))
            .status
            .success()
    );
    assert!(run("sqlite:").status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_managed_while_the_server_runs() {
    let server = Running::start();
    for name in ["alice", "bob"] {
        server.run(&["user", "add", name]);
    }
    let mut alice = server.log_in("alice").await.unwrap();
    let mut bob = server.log_in("bob").await.unwrap();
    for name in ["club", "attic"] {
        let group = NewGroup::new(GroupName::parse(name).unwrap());
        let group = alice.commands().create_group(group).await.unwrap().id;
        bob.commands().join_group(group, Note::default()).await.unwrap();
    }
    let listed = server.run(&["group", "list"]);
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed[0].contains("club") && listed[1].contains("attic"), "{listed:?}");
    assert!(server.run(&["group", "list", "--orphaned"]).is_empty());
    assert_eq!(
        server.run(&["group", "transfer", "club", "bob"]),
        ["made user bob the owner of group club"]
    );
    assert_eq!(
        server.run(&["group", "transfer", "club", "bob"]),
        ["user bob was already the owner of group club"]
    );
    let shown = server.run(&["group", "show", "club"]).join("\n");
    assert!(shown.contains("bob") && shown.contains("owner"), "{shown}");
    let refused = server.refused(&["group", "transfer", "club", "nobody"]);
    assert!(refused.contains("user nobody does not exist"), "{refused}");
    assert_eq!(server.run(&["group", "close", "club"]), ["deleted group club"]);
    let refused = server.refused(&["group", "show", "club"]);
    assert!(refused.contains("group club does not exist"), "{refused}");
    let listed = server.run(&["group", "list"]);
    assert!(
        listed[0].contains("deleted") && !listed[1].contains("deleted"),
        "{listed:?}"
    );
    server.stop();
}

#[test]
fn byte_order_mark_of_a_password_file_is_no_part_of_the_password() {
    let server = Running::start();
    fs::write(server.path().join("password"), format!("\u{feff}{PASSWORD}\n")).unwrap();
    server.run(&["user", "add", "alice", "--password-file", "password"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(server.log_in("alice")).unwrap();
    server.stop();
}

#[test]
fn accounts_are_created_from_a_file() {
    let server = Running::start();
    let file = server.path().join("users.jsonl");
    let lines = "\u{feff}{\"name\":\"alice\",\"password\":\"correct horse battery\"}\n\n{\"name\":\"bob\",\"display_name\":\"Bob B.\"}\n";
    fs::write(&file, lines).unwrap();
    let added = server.run(&["user", "add", "--file", "users.jsonl"]);
    assert_eq!(added, ["created user alice with id 1", "created user bob with id 2"]);
    assert_eq!(server.json(&["user", "show", "bob"])[0]["display_name"], "Bob B.");
    assert_eq!(server.json(&["user", "show", "alice"])[0]["has_password"], true);

    fs::write(&file, "{\"name\":\"bob\"}\n{\"name\":\"carol\"}\n").unwrap();
    let refused = server.refused(&["user", "add", "--file", "users.jsonl"]);
    assert!(
        refused.contains("line 1: user \"bob\"") && refused.contains("1 of 2 accounts"),
        "{refused}"
    );
    fs::write(&file, "{\"name\":\"dora\"}\n{\"nam\":\"eve\"}\n").unwrap();
    let refused = server.refused(&["user", "add", "--file", "users.jsonl"]);
    assert!(
        refused.contains("line 2") && refused.contains("no account was created"),
        "{refused}"
    );
    assert_eq!(server.run(&["user", "list"]).len(), 3, "alice, bob and carol");
    server.stop();
    // Without a server, the command works on the store.
    let directory = tempfile::tempdir().unwrap();
    assert!(run_program(directory.path(), &["migrate"]).status.success());
    fs::write(directory.path().join("users.jsonl"), "{\"name\":\"dora\"}\n").unwrap();
    let added = run_program(directory.path(), &["user", "add", "--file", "users.jsonl"]);
    assert_eq!(stdout(&added), "created user dora with id 1\n");
}

#[test]
fn socket_is_private_and_a_new_server_replaces_that_of_a_killed_one() {
    let mut server = Running::start();
    let mode = fs::metadata(server.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let mut child = server.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(server.socket().exists());
    // No server runs, so the command works on the store.
    server.run(&["user", "add", "alice"]);
    let (child, _) = start(server.path(), &LISTEN);
    server.child = Some(child);
    assert_eq!(server.json(&["stats"])[0]["running"], true);
    server.stop();
}

#[test]
fn requests_are_bounded_and_foreign_versions_are_refused() {
    let server = Running::start();
    let ask = |request: &[u8]| {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = String::new();
        let _ = BufReader::new(&stream).read_line(&mut answer);
        answer
    };
    assert!(ask(b"{\"version\":7}\n").contains("version 7"));
    assert!(ask(b"\xff\xff\n").contains("malformed"));
    assert!(ask(&vec![b'x'; 65 << 10]).contains("longer than 64 KiB"));
    let mut ended = UnixStream::connect(server.socket()).unwrap();
    ended.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(ended.read_to_end(&mut Vec::new()).unwrap(), 0);
    // A peer that has not read its answer delays no other command.
    let mut idle = UnixStream::connect(server.socket()).unwrap();
    let audit = b"{\"version\":1,\"json\":true,\"operator\":null,\"sudo_user\":null,\"command\":\"audit\",\"before\":null,\"limit\":9}\n";
    idle.write_all(audit).unwrap();
    assert_eq!(server.run(&["user", "add", "alice"]).len(), 1);
    server.stop();
}

/// Programs that connect and send no request, or a part of one, delay no command.
#[test]
fn connections_without_requests_are_ended() {
    let server = Running::start();
    let mut connections = Vec::new();
    for number in 0..200 {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        let sent = &b"{\"version\""[..number % 2];
        // The server may have ended the connection already.
        let _ = stream.write_all(sent);
        connections.push(stream);
    }
    assert_eq!(server.run(&["user", "add", "alice"]).len(), 1);
    for mut stream in connections {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let ended = stream.read(&mut [0]);
        let is_ended = matches!(&ended, Ok(0));
        let is_reset = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(is_ended || is_reset, "the connection is open");
    }
    server.stop();
}

#[test]
fn data_directory_with_a_long_path_has_a_socket_too() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("d".repeat(120));
    let data = long.to_str().unwrap();
    let (child, _) = start(directory.path(), &["--data-dir", data, "--listen", "sc1://127.0.0.1:0"]);
    let output = run_program(directory.path(), &["--data-dir", data, "stats", "--json"]);
    let stats: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(stats["running"], true, "{}", stderr(&output));
    signal(&child, "TERM");
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("admin socket"), "{log}");
}
