//! Tests that run the programs of the harness.

#![allow(clippy::unwrap_used)] // these are tests

mod chaosproxy;
mod cluster;
mod histcheck;
mod service;
mod swarm;

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Runs a program to its end and returns its exit code and its output.
fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
