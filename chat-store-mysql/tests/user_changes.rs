//! Measures how soon a node without a bus closes the sessions of users whose logins were ended
//! through the database, while it serves many users. Slow, so `scripts/test-slow` runs it, in
//! release mode.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::engine::operator::{CreateAccount, OperatorName};
use chat_core::engine::{Engine, EngineConfig, LocalSession};
use chat_core::model::{DeviceId, Push, UserId, UserName};
use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, Options};
use tokio::task::JoinSet;

/// Number of users whose sessions the node serves.
const USERS: u64 = 10_000;
/// Number of accounts or sessions that are created at the same time.
const CONCURRENT: u64 = 64;
/// Maximum time until a session is closed, as docs/operating.md states it for nodes without Redis.
const MAX_DELAY: Duration = Duration::from_secs(3);

async fn engine(url: &str) -> Engine {
    let store = MysqlStore::open(url, Options::default()).await.unwrap();
    let mut config = EngineConfig::default();
    config.request_timeout = Duration::from_secs(60);
    Engine::builder(Arc::new(store)).config(config).build().await.unwrap()
}

/// Creates the accounts through the node `there`, and their sessions on the node `here`.
async fn sessions(here: &Engine, there: &Engine) -> Vec<LocalSession> {
    let mut sessions = Vec::new();
    for first in (0..USERS).step_by(CONCURRENT as usize) {
        let mut created = JoinSet::new();
        for number in first..USERS.min(first + CONCURRENT) {
            let (here, there) = (here.clone(), there.clone());
            created.spawn(async move {
                let account = CreateAccount::new(UserName::parse(&format!("user{number}")).unwrap());
                let operator = there.operator(OperatorName::new("carol").unwrap());
                let user = operator.create_account(account).await.unwrap().id;
                here.session(user, DeviceId::random()).await.unwrap()
            });
        }
        sessions.extend(created.join_all().await);
    }
    sessions
}

/// Waits until the session is closed. Returns its user.
async fn closed(session: LocalSession) -> UserId {
    while let Some(push) = session.next_push().await {
        if let Push::Closed(_) = push {
            break;
        }
    }
    session.caller().user
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; scripts/test-slow runs it"]
async fn ended_logins_are_noticed_in_time_among_ten_thousand_users() {
    let server = MariaDb::start(&[]).unwrap();
    server.sql("CREATE DATABASE chat").unwrap();
    let url = server.url("chat");
    let (here, there) = (engine(&url).await, engine(&url).await);
    let mut sessions = sessions(&here, &there).await;
    // After this pause, the node `here` has read the changes that the creation of users made.
    tokio::time::sleep(Duration::from_secs(30)).await;

    let operator = there.operator(OperatorName::new("carol").unwrap());
    let mut delays = Vec::new();
    for _ in 0..10 {
        let session = sessions.pop().unwrap();
        operator.end_sessions(session.caller().user).await.unwrap();
        let ended = Instant::now();
        closed(session).await;
        delays.push(ended.elapsed());
    }
    println!("one of {USERS} users: {delays:?}");

    let mut open = JoinSet::new();
    for session in sessions {
        open.spawn(closed(session));
    }
    // Ends all logins, as transactions of another node would: raises the session epoch of each
    // device, and records that each user has changed.
    let now_ms = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000";
    let end_all = format!(
        "START TRANSACTION; UPDATE chat.device SET session_epoch = session_epoch + 1; \
         UPDATE chat.user_change SET number = number + 1, time = {now_ms}; COMMIT"
    );
    server.sql(&end_all).unwrap();
    let ended = Instant::now();
    let mut count = 0;
    while let Some(user) = open.join_next().await {
        user.unwrap();
        count += 1;
        if count % 1000 == 0 {
            println!("{count} sessions closed after {:?}", ended.elapsed());
        }
    }
    let all = ended.elapsed();
    println!("all of {count} users: {all:?}");
    delays.push(all);
    assert!(delays.iter().all(|delay| *delay <= MAX_DELAY), "{delays:?}");
}
