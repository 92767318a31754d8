//! The programs of the harness, as people and scripts use them.

#![allow(clippy::unwrap_used)] // these are tests

mod chaosproxy;
mod cluster;
mod histcheck;
mod service;
mod swarm;

use std::ffi::OsStr;
use std::process::{Command, Output};

/// Runs a program to its end.
fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
