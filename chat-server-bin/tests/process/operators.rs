//! Commands of operators on the store of a stopped server.

use std::path::Path;

use serde_json::Value;

use super::support::{finish, stderr, stdout};

/// Runs a command that has to succeed. Returns its lines.
fn run(directory: &Path, arguments: &[&str]) -> Vec<String> {
    let output = finish(directory, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output).lines().map(str::to_owned).collect()
}

/// Runs a command with `--json`. Returns its objects.
fn json(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let lines = run(directory, &[arguments, &["--json", "--operator", "carol"]].concat());
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn account_commands_print_text_or_json_and_leave_audit_records() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    run(here, &["user", "add", "admin", "--no-password", "--operator", "carol"]);
    let bob = json(
        here,
        &["user", "add", "bob", "--no-password", "--display-name", "Bob B."],
    );
    assert_eq!(bob[0]["display_name"], "Bob B.");
    assert_eq!(bob[0]["has_password"], false);

    assert_eq!(run(here, &["user", "list"]), ["#1\tadmin\tactive", "#2\tbob\tactive"]);
    assert_eq!(json(here, &["user", "list", "b"])[0]["name"], "bob");
    run(here, &["user", "rename", "bob", "bobby", "--operator", "carol"]);
    run(here, &["session", "end", "bobby", "--operator", "carol"]);
    let shown = run(here, &["user", "show", "#2"]);
    assert!(shown.contains(&"name bobby".to_owned()) && shown.contains(&"password none".to_owned()));

    let exported = run(here, &["user", "export", "bobby", "--operator", "carol"]);
    let profile: Value = serde_json::from_str(&exported[0]).unwrap();
    assert_eq!(
        (&profile["record"], &profile["name"]),
        (&"profile".into(), &"bobby".into())
    );

    let unconfirmed = finish(here, &["user", "delete", "bobby"]);
    assert_eq!(unconfirmed.status.code(), Some(1));
    assert!(stderr(&unconfirmed).contains("--yes"));
    let deleted = json(here, &["user", "delete", "bobby", "--free-name", "--yes"]);
    assert!(deleted[0]["deleted_ms"].is_number());
    run(here, &["user", "add", "bobby", "--no-password", "--operator", "carol"]);
    let unknown = finish(here, &["user", "show", "#99"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        stderr(&unknown).contains("user 99 does not exist"),
        "{}",
        stderr(&unknown)
    );

    let audit = json(here, &["audit"]);
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
            .all(|record| record["operator"] == "carol" && record["source"] == "chat-server")
    );
    assert_eq!(run(here, &["audit", "--limit", "2"]).len(), 2);
}

#[test]
fn group_commands_report_unknown_groups() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert!(run(here, &["group", "list"]).is_empty());
    for arguments in [
        &["group", "show", "rust"][..],
        &["group", "close", "rust"],
        &["group", "transfer", "rust", "alice"],
    ] {
        let refused = finish(here, arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(
            stderr(&refused).contains("group rust does not exist"),
            "{}",
            stderr(&refused)
        );
    }
}
