//! Tests of the program `histcheck`, with histories that the tests write.

use std::path::{Path, PathBuf};
use std::process::Output;

use chat_harness::history::{Digest, EventRecord, LogPosition, Observation, Writer};

use super::{run, utf8};

fn histcheck(arguments: &[&Path]) -> Output {
    run(env!("CARGO_BIN_EXE_histcheck"), arguments)
}

/// Returns the observations of a client whose message in a group is acknowledged at position 2.
fn observations_of_client() -> Vec<Observation> {
    let run = 1;
    vec![
        Observation::Run {
            run,
            user: 7,
            device: "phone".into(),
            cursors: Vec::new(),
        },
        Observation::LoggedIn {
            run,
            server: "a".into(),
        },
        Observation::Send {
            run,
            conversation: 3,
            message: "m".into(),
            digest: Digest::of(b"hello"),
        },
        Observation::Acked {
            run,
            message: "m".into(),
            event: "e2".into(),
            position: LogPosition {
                conversation: 3,
                seq: 2,
            },
        },
    ]
}

/// Returns the final log of the group (its creation and, if `is_complete`, the message), and the
/// membership of the user.
fn logs(is_complete: bool) -> Vec<Observation> {
    let event = |seq: u64, message: Option<&str>| Observation::Logged {
        source: "database".into(),
        epoch: "1".into(),
        event: EventRecord {
            position: LogPosition { conversation: 3, seq },
            event: format!("e{seq}"),
            sender: 7,
            time: 1000 + i64::try_from(seq).unwrap(),
            message: message.map(str::to_owned),
            digest: message.map(|_| Digest::of(b"hello")),
            joined: if seq == 1 { vec![7] } else { Vec::new() },
            left: Vec::new(),
        },
    };
    let mut logs = vec![event(1, None)];
    if is_complete {
        logs.push(event(2, Some("m")));
    }
    logs.push(Observation::Member {
        user: 7,
        first: LogPosition {
            conversation: 3,
            seq: 1,
        },
        until: None,
    });
    logs
}

fn write_history(directory: &Path, name: &str, lines: Vec<Observation>) -> PathBuf {
    let path = directory.join(name);
    let writer = Writer::open(&path).unwrap();
    lines
        .into_iter()
        .for_each(|observation| writer.note(observation).unwrap());
    writer.flush().unwrap();
    path
}

#[test]
fn history_and_logs_are_read_from_several_files() {
    let directory = tempfile::tempdir().unwrap();
    let client = write_history(directory.path(), "client", observations_of_client());
    let kept = write_history(directory.path(), "kept", logs(true));
    let output = histcheck(&[&client, &kept]);
    let printed = utf8(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("logs read from              database\n"), "{printed}");
    assert!(printed.contains("acknowledgements checked    1\n"), "{printed}");
    for rule in ["C1 ", "C2 ", "C12 ", "C15 "] {
        let line = printed.lines().find(|line| line.starts_with(rule)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some("0"), "{line}");
    }
}

#[test]
fn violation_is_printed_and_sets_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let client = write_history(directory.path(), "client", observations_of_client());
    let lost = write_history(directory.path(), "lost", logs(false));
    let output = histcheck(&[&client, &lost]);
    let printed = utf8(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("\nlost                        1\n"), "{printed}");
    assert!(printed.contains("\nC1: message m was acknowledged at "), "{printed}");
}

#[test]
fn history_without_final_logs_is_checked_only_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let client = write_history(directory.path(), "client", observations_of_client());
    let output = histcheck(&[&client]);
    assert_eq!(output.status.code(), Some(2));
    assert!(utf8(&output.stderr).starts_with("histcheck: the history has no final logs"));
    let output = histcheck(&[Path::new("--partial"), &client]);
    let printed = utf8(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("C1    not checked"), "{printed}");
    assert!(printed.contains("C13   0"), "{printed}");
}

#[test]
fn unusable_history_and_wrong_usage_set_exit_code_2() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken");
    std::fs::write(&broken, "{\"at\":1,\"what\":\"nothing\"}\n{}\n").unwrap();
    let (garbage, empty) = (directory.path().join("garbage"), directory.path().join("empty"));
    std::fs::write(&garbage, "no history\n").unwrap();
    std::fs::write(&empty, "").unwrap();
    for (arguments, expected) in [
        (vec![Path::new("/nowhere/history")], "/nowhere/history:0: No such file"),
        (vec![broken.as_path()], "broken:1: "),
        (vec![garbage.as_path()], "garbage:1: "),
        (
            vec![Path::new("--partial"), empty.as_path()],
            "there is nothing to check",
        ),
        (vec![], "Usage: histcheck"),
        (
            vec![Path::new("--database"), Path::new("chat"), &broken],
            "not the URL of a database; write mysql://",
        ),
        (vec![Path::new("--server"), Path::new("127.0.0.1:1"), &broken], "--user"),
    ] {
        let output = histcheck(&arguments);
        let printed = utf8(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(expected), "{printed}");
    }
}
