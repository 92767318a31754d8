//! Tests of operator commands such as `chat-server user add` on a store that no server uses.

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
    assert_eq!(unconfirmed.status.code(), Some(2));
    assert!(stderr(&unconfirmed).contains("--yes"));
    let deleted = json(path, &["user", "delete", "bobby", "--free-name", "--yes"]);
    assert!(deleted[0]["deleted_ms"].is_number());
    run(path, &["user", "add", "bobby", "--no-password", "--operator", "carol"]);
    let unknown = run_program(path, &["user", "show", "#99"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).contains("user #99 does not exist"),
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

/// A mistake in the command line is found before the store is opened, and has the exit code 2.
#[test]
fn invalid_arguments_are_usage_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (arguments, expected) in [
        (&["user", "show", "#x"][..], "the id in \"#x\" is not valid"),
        (&["user", "add", "a b", "--no-password"], "a b"),
        (&["user", "rename", "alice", ""], "NAME"),
        (&["user", "disable", "#"], "'#17'"),
        (&["user", "delete", "alice"], "--yes"),
        (&["user", "add", "alice"], "--password-file"),
        (
            &["user", "add", "alice", "--no-password", "--display-name", "a\nb"],
            "TEXT",
        ),
        (&["group", "show", "#1x"], "'#17'"),
        (&["group", "transfer", "rust", "#x"], "'#17'"),
        (&["session", "list", "#x"], "'#17'"),
        (&["user", "list", "--operator", ""], "NAME"),
        (&["keygen", "--bits", "1024"], "2048"),
    ] {
        let refused = run_program(path, arguments);
        let text = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
}

#[test]
fn repeated_commands_say_that_nothing_changed() {
    let directory = new_store();
    let path = directory.path();
    run(path, &["user", "add", "alice", "--no-password"]);
    let said = |arguments: &[&str], expected: &str| {
        let lines = run(path, arguments);
        assert!(lines[0].contains(expected), "{arguments:?}: {lines:?}");
    };
    said(&["user", "enable", "alice"], "user alice was already enabled");
    said(&["user", "disable", "#1"], "disabled user alice");
    said(&["user", "disable", "alice"], "user alice was already disabled");
    said(
        &["user", "rename", "alice", "Alice"],
        "user alice already had this name",
    );
    let enabled = json(path, &["user", "enable", "alice"]);
    assert_eq!(
        (&enabled[0]["changed"], &enabled[0]["disabled"]),
        (&true.into(), &false.into())
    );
    assert_eq!(json(path, &["user", "enable", "alice"])[0]["changed"], false);
    said(&["user", "delete", "alice", "--yes"], "deleted user alice with id 1");
    said(&["user", "delete", "#1", "--yes"], "user #1 was already deleted");
}

#[test]
fn file_without_accounts_is_reported() {
    let directory = new_store();
    std::fs::write(directory.path().join("empty"), "\n").unwrap();
    let added = run_program(directory.path(), &["user", "add", "--file", "empty"]);
    assert_eq!((added.status.code(), stdout(&added)), (Some(0), String::new()));
    assert!(
        stderr(&added).contains("empty contains no account"),
        "{}",
        stderr(&added)
    );
}

#[test]
fn stats_print_each_key_once() {
    let directory = new_store();
    let lines = run(directory.path(), &["stats"]);
    let mut keys: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(keys.contains(&"rows.conversations"), "{keys:?}");
    keys.sort_unstable();
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
}

#[test]
fn existing_key_and_missing_backup_are_named() {
    let directory = new_store();
    let path = directory.path();
    run(path, &["keygen", "--out", "key.pem", "--bits", "2048"]);
    let refused = run_program(path, &["keygen", "--out", "key.pem", "--bits", "2048"]);
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(
        text.contains("key.pem exists already") && text.contains("--out"),
        "{text}"
    );
    let refused = run_program(path, &["restore", "missing.db"]);
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(69), "{text}");
    assert!(
        text.contains("there is no backup missing.db") && !text.contains("migrate"),
        "{text}"
    );
}
