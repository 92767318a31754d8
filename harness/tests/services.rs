//! The services start, answer, die and come back.

#![allow(clippy::unwrap_used)] // these are tests

use chat_harness::services::{MariaDb, Redis};

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
