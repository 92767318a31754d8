//! Tests of operator commands such as `chat-server user add` on the store of a stopped server.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::support::{program, run_program, stderr, stdout};

/// Creates a directory with an empty store.
fn new_store() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), &["migrate"]);
    directory
}

/// Runs a command that has to succeed. Returns the lines that it prints.
fn run(directory: &Path, arguments: &[&str]) -> Vec<String> {
    let output = run_program(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

/// Runs a command with `--json` as the operator `carol`. Returns the objects that it prints.
fn json(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let lines = run(directory, &[arguments, &["--json", "--operator", "carol"]].concat());
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn account_commands_print_text_or_json_and_leave_audit_records() {
    let directory = new_store();
    let path = directory.path();
    run(path, &["user", "add", "admin", "--no-password", "--operator", "carol"]);
    let bob = json(
        path,
        &["user", "add", "bob", "--no-password", "--display-name", "Bob B."],
    );
    assert_eq!(bob[0]["display_name"], "Bob B.");
    assert_eq!(bob[0]["has_password"], false);

    assert_eq!(run(path, &["user", "list"]), ["#1\tadmin\tactive", "#2\tbob\tactive"]);
    assert_eq!(json(path, &["user", "list", "B"])[0]["name"], "bob");
    run(path, &["user", "rename", "bob", "bobby", "--operator", "carol"]);
    run(path, &["session", "end", "bobby", "--operator", "carol"]);
    let shown = run(path, &["user", "show", "#2"]);
    assert!(shown.contains(&"name bobby".to_owned()) && shown.contains(&"password none".to_owned()));

    let exported = run(path, &["user", "export", "bobby", "--operator", "carol"]);
    let profile: Value = serde_json::from_str(&exported[0]).unwrap();
    assert_eq!(
        (&profile["record"], &profile["name"]),
        (&"profile".into(), &"bobby".into())
    );

    let unconfirmed = run_program(path, &["user", "delete", "bobby"]);
    assert_eq!(unconfirmed.status.code(), Some(1));
    assert!(stderr(&unconfirmed).contains("--yes"));
    let deleted = json(path, &["user", "delete", "bobby", "--free-name", "--yes"]);
    assert!(deleted[0]["deleted_ms"].is_number());
    run(path, &["user", "add", "bobby", "--no-password", "--operator", "carol"]);
    let unknown = run_program(path, &["user", "show", "#99"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).contains("user 99 does not exist"),
        "{}",
        stderr(&unknown)
    );

    let source = format!("chat-server run by {}", system_user());
    let audit = json(path, &["audit"]);
    let actions: Vec<&str> = audit
        .iter()
        .rev()
        .filter_map(|record| record["action"].as_str())
        .collect();
    let expected = [
        "account.create",
        "account.create",
        "account.rename",
        "account.end_sessions",
        "account.export",
        "account.delete",
        "account.create",
    ];
    assert_eq!(actions, expected);
    assert!(
        audit
            .iter()
            .all(|record| record["operator"] == "carol" && record["source"] == source)
    );
    assert_eq!(run(path, &["audit", "--limit", "2"]).len(), 2);
}

/// Returns the login name of the user who runs the tests.
fn system_user() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    stdout(&output).trim().to_owned()
}

#[test]
fn operator_is_the_system_user_and_not_an_environment_variable() {
    let directory = new_store();
    let path = directory.path();
    let mut command = program(path, &["user", "add", "alice", "--no-password"]);
    for variable in ["USER", "LOGNAME"] {
        command.env(variable, "mallory");
    }
    assert!(command.env("SUDO_USER", "dora").output().unwrap().status.success());
    let lines = run(path, &["audit", "--json"]);
    let record: Value = serde_json::from_str(&lines[0]).unwrap();
    let user = system_user();
    assert_eq!(record["operator"], user.as_str());
    assert_eq!(record["source"], format!("chat-server run by {user} (SUDO_USER=dora)"));
}

#[test]
fn commands_create_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let commands = [
        &["user", "list"][..],
        &["user", "add", "alice", "--no-password"],
        &["group", "list"],
        &["session", "end", "alice"],
        &["audit"],
        &["new-epoch"],
    ];
    for command in commands {
        let refused = run_program(path, &[&["--data-dir", "mistyped"], command].concat());
        assert_eq!(refused.status.code(), Some(69), "{command:?}");
        let text = stderr(&refused);
        assert!(
            text.contains("mistyped/chat.db") && text.contains("--data-dir") && text.contains("chat-server migrate"),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "{command:?}");
    }
}

#[test]
fn closed_output_pipe_is_not_an_error() {
    let directory = new_store();
    let path = directory.path();
    run(path, &["user", "add", "alice", "--no-password"]);
    let commands = [
        &["user", "list"][..],
        &["user", "export", "alice"],
        &["audit"],
        &["user", "disable", "alice"],
    ];
    for command in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(path, command).stdout(writer).output().unwrap();
        assert_eq!(
            (output.status.code(), stderr(&output)),
            (Some(0), String::new()),
            "{command:?}"
        );
    }
}

#[test]
fn error_says_what_was_done_if_the_output_cannot_be_written() {
    let directory = new_store();
    let path = directory.path();
    let full_device = || File::options().write(true).open("/dev/full").unwrap();
    let add = ["user", "add", "alice", "--no-password"];
    let output = program(path, &add).stdout(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("the command succeeded") && text.contains("created user alice with id 1"),
        "{text}"
    );
    let output = program(path, &["user", "list"]).stdout(full_device()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        !stderr(&output).contains("the command succeeded"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn free_subject_refuses_unreserved_subjects_and_audit_shows_the_deletion_options() {
    let directory = new_store();
    let path = directory.path();
    let unknown = run_program(path, &["user", "free-subject", "auth0|1"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).contains("reserves this subject"),
        "{}",
        stderr(&unknown)
    );
    run(path, &["user", "add", "alice", "--no-password"]);
    let deleted = json(path, &["user", "delete", "alice", "--free-subject", "--yes"]);
    assert_eq!(deleted[0]["subject_reserved"], false);
    let audit = json(path, &["audit", "--limit", "1"]);
    assert_eq!(audit[0]["detail"], "texts kept, name reserved, subject freed");
}

#[test]
fn group_commands_report_unknown_groups() {
    let directory = new_store();
    let path = directory.path();
    assert!(run(path, &["group", "list"]).is_empty());
    for arguments in [
        &["group", "show", "rust"][..],
        &["group", "delete", "rust"],
        &["group", "transfer", "rust", "alice"],
    ] {
        let refused = run_program(path, arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr(&refused).contains("group rust does not exist"),
            "{}",
            stderr(&refused)
        );
    }
}
