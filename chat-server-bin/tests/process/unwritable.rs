//! Tests of the program with a standard output or standard error that cannot be written.

use std::fs::File;
use std::process::Stdio;

use super::support::{program, stderr};

fn full_device() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn unwritable_standard_error_does_not_change_the_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        (&["user", "list"][..], 69),
        (&["check-config", "-c", "missing.toml"], 78),
        (&["keygen", "--out", "/dev/null"], 1),
    ] {
        let output = program(directory.path(), arguments).stderr(full_device()).output();
        assert_eq!(output.unwrap().status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn closed_standard_output_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["config", "default"][..], &["man"], &["migrate"], &["--help"]] {
        let mut child = program(directory.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    }
}
