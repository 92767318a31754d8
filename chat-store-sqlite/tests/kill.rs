//! Tests that a store loses no acknowledged event when its process is killed (SIGKILL) at any
//! moment.

#![allow(clippy::unwrap_used)] // these are tests

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::Ack;

/// Environment variable with the data directory of the process to kill.
const CHILD_DIRECTORY: &str = "CHAT_STORE_CHILD";
/// Environment variable with the number of kills, 5 by default; the slow suite sets a higher
/// number.
const ROUNDS: &str = "CHAT_STORE_KILL_ROUNDS";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9() {
    let rounds: u64 = std::env::var(ROUNDS).map_or(5, |rounds| rounds.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut acks = Vec::new();
    for round in 0..rounds {
        // Varies the moment of the kill: in the first round during the setup, in each later one
        // after another number of acknowledgements, up to 1 999.
        let acks_until_kill = (round * 7919) % 2000;
        let path = directory.path().to_owned();
        let more = tokio::task::spawn_blocking(move || run_and_kill(&path, acks_until_kill))
            .await
            .unwrap();
        assert!(more.len() as u64 >= acks_until_kill);
        acks.extend(more);
        let stored = common::verify(directory.path(), &acks).await;
        assert!(stored >= acks.len() as u64);
    }
    println!("{rounds} kills, {} acknowledged events, none lost", acks.len());
}

/// Starts a process that appends, and kills it after `acks_until_kill` acknowledgements. Returns
/// all acknowledgements that it printed.
fn run_and_kill(directory: &Path, acks_until_kill: u64) -> Vec<Ack> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "appending_process", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut acks = Vec::new();
    let mut is_killed = false;
    let mut line = String::new();
    while out.read_line(&mut line).unwrap() > 0 {
        acks.extend(Ack::parse(&line));
        line.clear();
        if !is_killed && acks.len() as u64 >= acks_until_kill {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    child.wait().unwrap();
    assert!(is_killed, "the process ended before it was killed");
    acks
}

/// Main function of the process to kill. Does nothing unless [`CHILD_DIRECTORY`] is set, as in a
/// run of all tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appending_process() {
    if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
        // Ends the line that the test runner has begun, so that acknowledgements start new lines.
        println!();
        common::append_forever(Path::new(&directory)).await;
    }
}
