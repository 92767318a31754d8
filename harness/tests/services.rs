//! The services start, answer, die and come back.

#![allow(clippy::unwrap_used)] // these are tests

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chat_core::testkit::{Reach, signal};
use chat_harness::services::{MariaDb, Redis, State};

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

/// This test runs itself in other processes, which start a service and are ended in different ways.
#[test]
fn a_service_ends_with_the_process_that_started_it() {
    if std::env::var_os(STARTER).is_some() {
        let redis = Redis::start(&[]).unwrap();
        println!("\nstarted {}", redis.process().pid());
        std::thread::park();
    }
    // Alone; with everybody in its group, as `timeout` does it; and by a terminal that is closed.
    for (name, reach) in [
        ("KILL", Reach::Process),
        ("TERM", Reach::Group),
        ("INT", Reach::Group),
        ("HUP", Reach::Group),
    ] {
        let mut starter = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_service_ends_with_the_process_that_started_it",
                "--nocapture",
            ])
            .env(STARTER, "1")
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(starter.stdout.take().unwrap()).lines();
        let process = lines
            .find_map(|line| Some(format!("/proc/{}", line.unwrap().strip_prefix("started ")?)))
            .unwrap();
        assert!(Path::new(&process).exists());
        signal(starter.id(), name, reach).unwrap();
        starter.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Path::new(&process).exists() {
            assert!(Instant::now() < deadline, "{process} lives on after {name}");
            std::thread::yield_now();
        }
    }
}

/// What has ended gets no signals: somebody else may have its process id by then.
#[test]
fn who_has_ended_gets_no_signals() {
    let mut redis = Redis::start(&[]).unwrap();
    assert_eq!(redis.process().state(), State::Runs);
    redis.process().signal("STOP").unwrap();
    assert_eq!(redis.process().state(), State::Stopped);
    redis.process().signal("CONT").unwrap();
    redis.process().signal("TERM").unwrap();
    redis.wait().unwrap();
    for _ in 0..2 {
        assert_eq!(redis.process().state(), State::Ended);
        let refused = redis.process().signal("TERM").unwrap_err().to_string();
        assert!(refused.ends_with(" has ended"), "{refused}");
        redis.kill();
    }
}
