//! Runs the program, and reads its output and log.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use chat_harness::process::Reach;

pub(crate) static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| chat_harness::binary("chat-server", env!("CARGO_BIN_EXE_chat-server")));

/// Returns a command that runs the program in this directory, without CHAT_ variables in its
/// environment.
pub(crate) fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(&*PROGRAM);
    command.current_dir(directory).args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHAT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program until it exits.
pub(crate) fn run_program(directory: &Path, arguments: &[&str]) -> Output {
    program(directory, arguments).output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts a server and waits until it is ready. Returns the process and the lines that it printed.
pub(crate) fn start(directory: &Path, arguments: &[&str]) -> (Child, Vec<String>) {
    let mut child = program(directory, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = until_ready(&mut child);
    (child, lines)
}

/// Reads the output of a server up to the line with its fingerprint, which it prints when it is
/// ready. Returns the lines. Lines after that one may be lost.
pub(crate) fn until_ready(child: &mut Child) -> Vec<String> {
    let mut lines = Vec::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    while !lines
        .last()
        .is_some_and(|line: &String| line.starts_with("fingerprint "))
    {
        let mut line = String::new();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "the server ended after {lines:?}"
        );
        lines.push(line.trim_end().to_owned());
    }
    child.stdout = Some(output.into_inner());
    lines
}

/// Waits until a line with `text` is logged. Returns the log up to and including that line.
pub(crate) fn until_logged(child: &mut Child, text: &str) -> String {
    let mut log = Vec::new();
    let mut byte = [0];
    // Reads byte by byte, to leave the following lines for the next reader.
    while !log.ends_with(b"\n") || !String::from_utf8_lossy(&log).contains(text) {
        let stderr = child.stderr.as_mut().unwrap();
        assert_eq!(
            stderr.read(&mut byte).unwrap(),
            1,
            "the server ended after {}",
            String::from_utf8_lossy(&log)
        );
        log.extend(byte);
    }
    String::from_utf8(log).unwrap()
}

pub(crate) fn signal(child: &Child, name: &str) {
    chat_harness::process::signal(child.id(), name, Reach::Process).unwrap();
}

/// Waits until the process exits. Returns its exit code and the rest of its log.
pub(crate) fn exit_code_and_log(mut child: Child) -> (Option<i32>, String) {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}
