//! Tests of restoring the embedded store: the command, and a copy that was put in place by hand.

use std::fs;
use std::path::Path;
use std::process::Child;

use super::support::{exit_code_and_log, program, run_program, signal, start, stderr, stdout};

const LISTEN: [&str; 2] = ["--listen", "sc1://127.0.0.1:0"];

fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = run_program(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn add_user(directory: &Path, name: &str) {
    run(directory, &["user", "add", name, "--no-password"]);
}

fn users(directory: &Path) -> Vec<String> {
    let rows = run(directory, &["user", "list"]);
    let names = rows.lines().filter_map(|row| row.split('\t').nth(1));
    names.map(str::to_owned).collect()
}

fn stop(child: Child) {
    signal(&child, "TERM");
    let (code, log) = exit_code_and_log(child);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn store_and_identity_are_restored_on_a_new_machine() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (child, lines) = start(old.path(), &LISTEN);
    stop(child);
    add_user(old.path(), "alice");
    let backup = new.path().join("backup.db");
    run(old.path(), &["backup", backup.to_str().unwrap()]);

    let text = run(new.path(), &["restore", "backup.db"]);
    assert!(text.starts_with("restored backup.db\nepoch "), "{text}");
    assert!(text.contains("identity.pem is missing"), "{text}");
    fs::copy(
        old.path().join("chat-data/identity.pem"),
        new.path().join("chat-data/identity.pem"),
    )
    .unwrap();
    assert_eq!(users(new.path()), ["alice"]);
    let (child, restored) = start(new.path(), &LISTEN);
    stop(child);
    assert_eq!(restored.last(), lines.last(), "the fingerprint");
}

#[test]
fn restore_is_refused_while_a_server_runs_and_keeps_the_former_store() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &["migrate"]);
    add_user(directory.path(), "alice");
    run(directory.path(), &["backup", "backup.db"]);
    add_user(directory.path(), "bob");
    let (child, _) = start(directory.path(), &LISTEN);
    let refused = run_program(directory.path(), &["restore", "backup.db"]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(stderr(&refused).contains("stop the server"), "{}", stderr(&refused));
    stop(child);

    let text = run(directory.path(), &["restore", "backup.db"]);
    assert_eq!(users(directory.path()), ["alice"]);
    let former = text.split("the former store is ").nth(1).unwrap();
    let former = former.split(';').next().unwrap();
    run(directory.path(), &["restore", former]);
    assert_eq!(users(directory.path()), ["alice", "bob"]);

    fs::write(directory.path().join("text"), "no backup").unwrap();
    let refused = run_program(directory.path(), &["restore", "text"]);
    // Unlike 69, this code does not say that the same command may work later.
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("text is damaged"), "{}", stderr(&refused));
    assert_eq!(users(directory.path()), ["alice", "bob"]);
}

#[test]
fn copy_over_the_store_of_a_killed_server_is_used_without_the_old_write_ahead_log() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &["migrate"]);
    add_user(directory.path(), "alice");
    run(directory.path(), &["backup", "backup.db"]);
    let (mut child, _) = start(directory.path(), &LISTEN);
    signal(&child, "KILL");
    child.wait().unwrap();
    let data = directory.path().join("chat-data");
    assert!(data.join("chat.db-wal").exists());
    fs::copy(directory.path().join("backup.db"), data.join("chat.db")).unwrap();
    // The write-ahead log is empty if the server was killed before its first write.
    let wal_len = fs::metadata(data.join("chat.db-wal")).unwrap().len();
    let listed = program(directory.path(), &["user", "list"]).output().unwrap();
    let warned = stderr(&listed).contains("belongs to another database");
    assert_eq!(warned, wal_len > 0, "{}", stderr(&listed));
    assert_eq!(users(directory.path()), ["alice"]);
}
