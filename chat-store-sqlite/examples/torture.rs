//! Runs the store under conditions that a test cannot create by itself, such as a power cut or a
//! full disk (`scripts/slow-store` creates them), and measures its throughput.
//!
//! ```text
//! torture append DIR            appends until it is killed; prints acknowledgements
//! torture verify DIR ACKS       checks that DIR is intact and holds the messages that ACKS lists
//! torture fill DIR BALLAST      fills the disk, removes the file BALLAST, appends again
//! torture control-append DIR    appends to a database that does not sync, as a control
//! torture control-verify DIR ACKS    prints how many acknowledged rows the control lost
//! torture throughput DIR        prints events per second for batches of several sizes
//! ```
//!
//! The control must lose rows in a power cut. That proves that the cut can lose data.

#![allow(clippy::unwrap_used)] // a panic reports the failure

#[path = "../tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::model::{ConversationId, Member, Role, Seq, UserId};
use chat_core::store::{MessageStore, Store, StoreError, TxError};
use chat_core::testkit::store::{NewEvent, append, transact};
use chat_store_sqlite::{Options, SqliteStore};
use common::Ack;

#[tokio::main]
async fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let arguments: Vec<&Path> = arguments.iter().map(PathBuf::as_path).collect();
    match arguments[..] {
        [command, directory] if command == Path::new("append") => common::append_forever(directory).await,
        [command, directory, acks] if command == Path::new("verify") => {
            let acks = read_acks(acks);
            let stored = common::verify(directory, &acks).await;
            println!("{} acknowledged, {stored} stored, none lost", acks.len());
        }
        [command, directory, ballast] if command == Path::new("fill") => fill(directory, ballast).await,
        [command, directory] if command == Path::new("control-append") => control_append(directory),
        [command, directory, acks] if command == Path::new("control-verify") => control_verify(directory, acks),
        [command, directory] if command == Path::new("throughput") => throughput(directory).await,
        _ => {
            eprintln!("usage: torture COMMAND DIR [FILE]; the comment at the top of torture.rs lists the commands");
            std::process::exit(2);
        }
    }
}

fn read_acks(path: &Path) -> Vec<Ack> {
    let text = std::fs::read_to_string(path).unwrap();
    text.split_inclusive('\n').filter_map(Ack::parse).collect()
}

async fn open(directory: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(directory, Options::default()).await.unwrap())
}

async fn create_groups(store: &dyn Store, count: u64) {
    let work = transact(store, move |tx| {
        Box::pin(async move {
            for number in 1..=count {
                let id = tx
                    .create_conversation(common::group(number))
                    .await?
                    .ok_or(TxError::Abort)?;
                tx.put_member(&Member::active(id, UserId(1), Role::Owner, Seq(1)))
                    .await?;
            }
            Ok(())
        })
    });
    work.await.unwrap();
}

fn messages(count: u64, bytes: usize) -> Vec<NewEvent> {
    (0..count).map(|_| NewEvent::message(vec![b'x'; bytes])).collect()
}

async fn fill(directory: &Path, ballast: &Path) {
    let store = open(directory).await;
    create_groups(&*store, 1).await;
    let group = ConversationId(1);
    let mut acked = Vec::new();
    let error = loop {
        match append(&*store, group, UserId(1), messages(4, 4000)).await {
            Ok(events) => acked.extend(events),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    assert_eq!(
        store.events(group, Seq(1), Seq(u64::MAX), u32::MAX).await.unwrap(),
        acked
    );
    std::fs::remove_file(ballast).unwrap();
    acked.extend(append(&*store, group, UserId(1), messages(4, 4000)).await.unwrap());
    assert_eq!(
        store.events(group, Seq(1), Seq(u64::MAX), u32::MAX).await.unwrap(),
        acked
    );
    store.close().await;
    assert_eq!(common::integrity(directory), "ok");
    println!(
        "full after {} events, recovered once there was room, none lost",
        acked.len() - 4
    );
}

const CONTROL_FILE: &str = "control.db";

fn control_append(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let conn = rusqlite::Connection::open(directory.join(CONTROL_FILE)).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (n INTEGER PRIMARY KEY)")
        .unwrap();
    for n in 1.. {
        conn.execute("INSERT INTO t VALUES (?1)", [n]).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{n}").unwrap();
        out.flush().unwrap();
    }
}

fn control_verify(directory: &Path, acks: &Path) {
    let text = std::fs::read_to_string(acks).unwrap();
    let acked = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).count();
    let conn = rusqlite::Connection::open(directory.join(CONTROL_FILE));
    let stored = conn.and_then(|conn| conn.query_row("SELECT COUNT(*) FROM t", [], |row| row.get::<_, i64>(0)));
    println!(
        "control: {acked} acknowledged, {} lost",
        acked as i64 - stored.unwrap_or(0)
    );
}

/// Prints the rates at which `writers` tasks append batches of `batch` events to 1 000
/// conversations.
async fn throughput(directory: &Path) {
    const CONVERSATIONS: u64 = 1000;
    const DURATION: Duration = Duration::from_secs(3);
    for (batch, writers) in [(1, 1), (1, 16), (1, 128), (16, 1), (128, 1), (128, 4)] {
        let directory = directory.join(format!("{batch}-{writers}"));
        let store = open(&directory).await;
        create_groups(&*store, CONVERSATIONS).await;
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..writers {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let mut events = 0;
                for round in 0_u64.. {
                    if started.elapsed() > DURATION {
                        break;
                    }
                    let conversation = ConversationId(1 + (round * 7919 + writer * 104_729) % CONVERSATIONS);
                    events += append(&*store, conversation, UserId(1), messages(batch, 256))
                        .await
                        .unwrap()
                        .len();
                }
                events
            });
        }
        let events: usize = tasks.join_all().await.into_iter().sum();
        let rate = events as f64 / started.elapsed().as_secs_f64();
        println!("batch {batch:>3}, {writers:>3} writers: {rate:>9.0} events/s");
        store.close().await;
    }
}
