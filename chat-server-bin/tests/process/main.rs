//! Tests of the program as operators and scripts use it: output, exit codes and error messages.

#![allow(clippy::unwrap_used)] // these are tests

mod administration;
mod faults;
mod interrupted;
mod operators;
mod password_prompt;
mod rates;
mod refusals;
mod restore;
mod restored;
mod secrets;
mod support;
mod unwritable;
mod warnings;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use chat_core::testkit::{PASSWORD, Peer};
use chat_harness::ServerProcess;
use tempfile::TempDir;

use support::{PROGRAM, exit_code_and_log, program, run_program, signal, start, stderr, stdout};

#[test]
fn server_starts_without_configuration_and_exits_with_0_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    // Only the port is set, because other tests run at the same time.
    let (child, lines) = start(directory.path(), &["--listen", "sc1://127.0.0.1:0"]);
    let [listening, ready, fingerprint] = &lines[..] else {
        panic!("{lines:?}")
    };
    let address: SocketAddr = listening.strip_prefix("listening sc1 ").unwrap().parse().unwrap();
    assert!(address.ip().is_loopback() && address.port() > 0);
    assert_eq!(ready, "ready");
    assert!(fingerprint.starts_with("fingerprint sha256:"), "{fingerprint}");
    assert!(directory.path().join("chat-data/identity.pem").exists());
    signal(&child, "TERM");
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn data_directory_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let (child, _) = start(directory.path(), &["--listen", "sc1://127.0.0.1:0"]);
    assert_eq!(mode(&directory.path().join("chat-data")), 0o700);
    assert_eq!(mode(&directory.path().join("chat-data/identity.pem")), 0o600);
    signal(&child, "INT");
    assert_eq!(exit_code_and_log(child).0, Some(0));

    let created = run_program(directory.path(), &["keygen", "--out", "keys/identity.pem"]);
    assert!(created.status.success(), "{}", stderr(&created));
    assert_eq!(mode(&directory.path().join("keys")), 0o700);
}

#[test]
fn data_files_are_private_in_a_shared_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("chat-data");
    let set_mode = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::create_dir(&data).unwrap();
    set_mode(&data, 0o755);
    let files = ["chat.db", "chat.db-shm", "chat.db-wal", "identity.pem", "lock"];
    for round in 1..=2 {
        let (child, _) = start(directory.path(), &["--listen", "sc1://127.0.0.1:0"]);
        let modes = files.map(|name| (name, mode(&data.join(name))));
        assert_eq!(modes, files.map(|name| (name, 0o600)), "start {round}");
        let backup = run_program(directory.path(), &["backup", &format!("copy-{round}.db")]);
        assert!(backup.status.success(), "{}", stderr(&backup));
        assert_eq!(mode(&directory.path().join(format!("copy-{round}.db"))), 0o600);
        signal(&child, "TERM");
        let (code, log) = exit_code_and_log(child);
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(log.contains("the store removed that access"), round == 2, "{log}");
        // An earlier version may have created the file with this mode.
        set_mode(&data.join("chat.db"), 0o644);
    }
    assert_eq!(mode(&data), 0o755, "the mode of an existing directory is unchanged");
}

#[test]
fn data_directory_that_every_user_can_change_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("chat-data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    for command in [&["run"][..], &["check-config"], &["migrate"]] {
        let refused = run_program(directory.path(), command);
        assert_eq!(refused.status.code(), Some(78), "{command:?}: {}", stderr(&refused));
        let text = stderr(&refused);
        assert!(text.contains("chmod 700 ./chat-data"), "{text}");
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
}

#[test]
fn second_server_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (child, _) = start(directory.path(), &["--listen", "sc1://127.0.0.1:0"]);
    let second = run_program(directory.path(), &["--listen", "sc1://127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(69), "{}", stderr(&second));
    assert!(stderr(&second).contains("chat-data"), "{}", stderr(&second));
    signal(&child, "TERM");
    assert_eq!(exit_code_and_log(child).0, Some(0), "the first server is unaffected");
}

#[test]
fn port_in_use_is_reported_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("sc1://{}", taken.local_addr().unwrap());
    let output = run_program(directory.path(), &["--listen", &listen]);
    assert_eq!(output.status.code(), Some(69));
    let errors = stderr(&output);
    let last = errors.lines().last().unwrap();
    assert!(
        last.starts_with("chat-server: ") && last.contains(&listen) && last.contains("--listen"),
        "{errors}"
    );
}

#[test]
fn check_config_prints_every_problem() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[server]\nlisten = [\"ftp://x:1\"]\nnam = \"x\"\n[limits]\nmax_connections = \"lots\"\n";
    std::fs::write(directory.path().join("bad.toml"), text).unwrap();
    for command in ["check-config", "run"] {
        let output = run_program(directory.path(), &["-c", "bad.toml", command]);
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        let errors = stderr(&output);
        assert!(errors.contains("bad.toml:3") && errors.contains("nam"), "{errors}");
        assert!(
            errors.contains("bad.toml:5") && errors.contains("connections"),
            "{errors}"
        );
        assert!(errors.contains("bad.toml:2") && errors.contains("ftp"), "{errors}");
    }
    let unknown = program(directory.path(), &["check-config"])
        .env("CHAT_SERVER__LISTN", "x")
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(78));
    assert!(stderr(&unknown).contains("CHAT_SERVER__LISTN"), "{}", stderr(&unknown));
    assert_eq!(
        run_program(directory.path(), &["--no-such-flag"]).status.code(),
        Some(2)
    );
    assert_eq!(run_program(directory.path(), &["check-config"]).status.code(), Some(0));
}

#[test]
fn plain_listener_on_a_network_address_must_be_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let refused = run_program(directory.path(), &["--listen", "plain://0.0.0.0:0", "check-config"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(stderr(&refused).contains("--allow-plain"), "{}", stderr(&refused));
    let allowed = run_program(
        directory.path(),
        &["--listen", "plain://0.0.0.0:0", "--allow-plain", "check-config"],
    );
    assert_eq!(allowed.status.code(), Some(0));
}

#[test]
fn default_configuration_is_valid_and_printing_commands_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let defaults = run_program(directory.path(), &["config", "default"]);
    std::fs::write(directory.path().join("chat-server.toml"), &defaults.stdout).unwrap();
    assert_eq!(run_program(directory.path(), &["check-config"]).status.code(), Some(0));
    for command in [&["config", "show"][..], &["man"], &["completions", "bash"]] {
        let output = run_program(directory.path(), command);
        assert!(output.status.success() && !output.stdout.is_empty(), "{command:?}");
    }
}

#[tokio::test]
async fn user_commands_manage_accounts_of_a_stopped_server() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("chat-data");
    let password = directory.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\nsecond line\n")).unwrap();
    let user = |arguments: &[&str]| run_program(directory.path(), &[&["user"], arguments].concat());
    let file = ["--password-file", password.to_str().unwrap()];

    assert!(run_program(directory.path(), &["migrate"]).status.success());
    let added = user(&[&["add", "alice"], &file[..]].concat());
    assert_eq!(stdout(&added), "created user alice with id 1\n", "{}", stderr(&added));
    let second = user(&[&["add", "alice"], &file[..]].concat());
    assert_eq!(second.status.code(), Some(1));

    let login = async |server: &ServerProcess| {
        let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
        peer.login("alice").await.map(drop).map_err(|error| error.to_string())
    };
    let mut server = ServerProcess::start(&PROGRAM, &data, &[]).unwrap();
    assert_eq!(login(&server).await, Ok(()));
    server.kill();

    assert!(user(&["disable", "alice"]).status.success());
    let mut server = ServerProcess::start(&PROGRAM, &data, &[]).unwrap();
    // 203 is the reply code for a disabled account.
    assert!(login(&server).await.unwrap_err().contains("203"));
    server.kill();
    assert!(user(&["enable", "alice"]).status.success());
    assert_eq!(user(&["enable", "nobody-of-this-name"]).status.code(), Some(1));
    let server = ServerProcess::start(&PROGRAM, &data, &[]).unwrap();
    assert_eq!(login(&server).await, Ok(()));
}

#[tokio::test]
async fn backup_of_a_running_server_is_usable_and_new_epoch_needs_a_stopped_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("chat-data");
    let server = ServerProcess::start(&PROGRAM, &data, &[]).unwrap();
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    peer.register("alice").await.unwrap();

    let backup = run_program(directory.path(), &["backup", "copy.db"]);
    assert!(backup.status.success(), "{}", stderr(&backup));
    let overwriting = run_program(directory.path(), &["backup", "copy.db"]);
    assert!(!overwriting.status.success(), "a backup never overwrites a file");
    let renewed = run_program(directory.path(), &["new-epoch"]);
    assert_eq!(
        renewed.status.code(),
        Some(69),
        "refused while the server runs: {}",
        stderr(&renewed)
    );
    let before = peer.login("alice").await.unwrap().store_epoch;
    drop(server);
    // An operator runs this after restoring a copy without `chat-server restore`.
    let renewed = run_program(directory.path(), &["new-epoch"]);
    assert!(renewed.status.success(), "{}", stderr(&renewed));
    let server = ServerProcess::start(&PROGRAM, &data, &[]).unwrap();
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    let after = peer.login("alice").await.unwrap().store_epoch;
    assert_ne!(before, after);
    let output = String::from_utf8(renewed.stdout).unwrap();
    assert!(output.contains(&after.to_string()), "{output}");
    drop(server);

    let restored: TempDir = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("copy.db"), restored.path().join("chat.db")).unwrap();
    let server = ServerProcess::start(&PROGRAM, restored.path(), &[]).unwrap();
    let mut peer = Peer::connect(server.address(), server.fingerprint()).await.unwrap();
    peer.login("alice").await.unwrap();
}
