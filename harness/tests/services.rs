//! The services start, answer, die and come back.

#![allow(clippy::unwrap_used)] // these are tests

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chat_harness::services::{MariaDb, Redis};

/// Set in the process that is to be killed.
const STARTER: &str = "CHAT_HARNESS_STARTER";

#[test]
fn mariadb_keeps_what_it_said_it_kept() {
    let mut database = MariaDb::start(&[]).unwrap();
    database
        .sql("CREATE DATABASE t; CREATE TABLE t.a (n INT); INSERT INTO t.a VALUES (42)")
        .unwrap();
    let before = database.process().pid();
    database.restart().unwrap();
    assert_ne!(database.process().pid(), before);
    assert_eq!(database.sql("SELECT n FROM t.a").unwrap(), "42\n");
    database.kill();
    assert!(database.sql("SELECT 1").is_err());
    assert!(database.process().signal("STOP").is_err());
}

#[test]
fn redis_comes_back_empty() {
    let mut redis = Redis::start(&[]).unwrap();
    redis.command(&["SET", "a", "1"]).unwrap();
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), "1\n");
    redis.restart().unwrap();
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), "\n");
    redis.kill();
    assert!(redis.command(&["PING"]).is_err());
}

/// This test runs itself in another process, which starts a service and is killed.
#[test]
fn a_service_ends_with_the_process_that_started_it() {
    if std::env::var_os(STARTER).is_some() {
        let redis = Redis::start(&[]).unwrap();
        println!("\nstarted {}", redis.process().pid());
        std::thread::park();
    }
    let mut starter = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_service_ends_with_the_process_that_started_it",
            "--nocapture",
        ])
        .env(STARTER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(starter.stdout.take().unwrap()).lines();
    let process = lines
        .find_map(|line| Some(format!("/proc/{}", line.unwrap().strip_prefix("started ")?)))
        .unwrap();
    assert!(Path::new(&process).exists());
    starter.kill().unwrap();
    starter.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new(&process).exists() {
        assert!(Instant::now() < deadline, "{process} lives on");
        std::thread::yield_now();
    }
}
