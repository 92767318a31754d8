//! Tests of the MariaDB and Redis servers that the harness starts.

#![allow(clippy::unwrap_used)] // these are tests

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chat_harness::process::{Reach, signal};
use chat_harness::services::{MariaDb, ProcessState, Redis};

/// Environment variable that tells a copy of this test program to start a service and wait to be
/// ended.
const STARTER: &str = "CHAT_HARNESS_STARTER";

#[test]
fn mariadb_keeps_committed_rows() {
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
fn lock_affects_only_one_conversation() {
    let mut database = MariaDb::start(&[]).unwrap();
    database
        .sql("CREATE DATABASE chat; CREATE TABLE chat.conversation (id BIGINT PRIMARY KEY, last_seq BIGINT)")
        .unwrap();
    let lock = |time| database.administrator().lock_busiest_conversation(time);
    let refused = lock(Duration::ZERO).unwrap_err().to_string();
    assert_eq!(refused, "there is no conversation to lock");
    database
        .sql("INSERT INTO chat.conversation VALUES (1, 5), (2, 7), (3, 6)")
        .unwrap();
    let update = |id: u32| {
        let wait = "SET innodb_lock_wait_timeout = 0";
        database.sql(&format!(
            "{wait}; UPDATE chat.conversation SET last_seq = 8 WHERE id = {id}"
        ))
    };
    lock(Duration::from_millis(1)).unwrap().wait().unwrap();
    let held = lock(Duration::from_secs(600)).unwrap();
    let refused = update(2).unwrap_err().to_string();
    assert!(refused.contains("Lock wait timeout exceeded"), "{refused}");
    update(1).unwrap();
    update(3).unwrap();
    database.kill();
    assert!(held.wait().is_err());
    assert!(
        database
            .administrator()
            .lock_busiest_conversation(Duration::ZERO)
            .is_err()
    );
}

#[test]
fn pause_of_redis_ends_after_its_time_or_on_request() {
    let redis = Redis::start(&[]).unwrap();
    let long_pause = redis.pause(Duration::from_secs(3600)).unwrap();
    let mut waiting_client = TcpStream::connect(redis.address()).unwrap();
    waiting_client.write_all(b"PING\r\n").unwrap();
    waiting_client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(waiting_client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!long_pause.is_over());
    long_pause.end().unwrap();
    redis.command(&["PING"]).unwrap();
    let short_pause = redis.pause(Duration::from_millis(1)).unwrap();
    redis.command(&["PING"]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !short_pause.is_over() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn redis_is_empty_after_a_restart() {
    let mut redis = Redis::start(&[]).unwrap();
    redis.command(&["SET", "a", "1"]).unwrap();
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), "1\n");
    let refused = redis.command(&["INCR"]).unwrap_err().to_string();
    assert!(refused.starts_with("ERR "), "{refused}");
    redis.restart().unwrap();
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), "\n");
    redis.kill();
    assert!(redis.command(&["PING"]).is_err());
}

/// Runs this test in other processes, each of which starts a service and is then ended by a signal.
#[test]
fn service_ends_with_the_process_that_started_it() {
    if std::env::var_os(STARTER).is_some() {
        let redis = Redis::start(&[]).unwrap();
        println!("\nstarted {}", redis.process().pid());
        std::thread::park();
    }
    // The signal reaches either only the process, or its process group, as from `timeout`, Ctrl-C
    // or a closed terminal.
    for (name, reach) in [
        ("KILL", Reach::Process),
        ("TERM", Reach::Group),
        ("INT", Reach::Group),
        ("HUP", Reach::Group),
    ] {
        let mut starter = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "service_ends_with_the_process_that_started_it",
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
            assert!(Instant::now() < deadline, "{process} still exists after {name}");
            std::thread::yield_now();
        }
    }
}

/// An ended process gets no signals, because another process may have the same id by then.
#[test]
fn ended_process_gets_no_signals() {
    let mut redis = Redis::start(&[]).unwrap();
    assert_eq!(redis.process().state(), ProcessState::Runs);
    redis.process().signal("STOP").unwrap();
    assert_eq!(redis.process().state(), ProcessState::Stopped);
    redis.process().signal("CONT").unwrap();
    redis.process().signal("TERM").unwrap();
    redis.wait().unwrap();
    for _ in 0..2 {
        assert_eq!(redis.process().state(), ProcessState::Ended);
        let refused = redis.process().signal("TERM").unwrap_err().to_string();
        assert!(refused.ends_with(" has ended"), "{refused}");
        redis.kill();
    }
}
