//! Tests of backups, most of them of a store that is open.

#![allow(clippy::unwrap_used)] // these are tests

mod common;

use std::path::Path;
use std::sync::Arc;

use chat_core::model::Seq;
use chat_core::store::{AccountStore, MessageStore, Store};
use chat_core::testkit::store::{NewEvent, World, append};
use chat_store_sqlite::{BackupError, DATABASE_FILE, OpenError, Options, SqliteStore};

async fn world(directory: &Path) -> (Arc<SqliteStore>, World) {
    let store = Arc::new(SqliteStore::open(directory, Options::default()).await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    (store, world)
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_is_one_snapshot_of_a_busy_store() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, world) = world(source.path()).await;
    let writer = {
        let (store, group, alice) = (Arc::clone(&store), world.group, world.alice);
        tokio::spawn(async move {
            let mut acked = Vec::new();
            for _ in 0..300 {
                let new_events = vec![NewEvent::message("a"), NewEvent::message("b")];
                acked.extend(append(&*store, group, alice, new_events).await.unwrap());
            }
            acked
        })
    };
    let before = append(&*store, world.group, world.bob, vec![NewEvent::message("before")])
        .await
        .unwrap();
    let copy = target.path().join(DATABASE_FILE);
    store.backup_to(&copy).await.unwrap();
    assert_eq!(files(target.path()), [DATABASE_FILE]);
    writer.await.unwrap();

    assert_eq!(common::integrity(target.path()), "ok");
    let restored = SqliteStore::open(target.path(), Options::default()).await.unwrap();
    let original = store
        .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
        .await
        .unwrap();
    let events = restored
        .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
        .await
        .unwrap();
    assert_eq!(events, original[..events.len()]);
    assert!(
        events.contains(&before[0]),
        "the backup contains every event acknowledged before it began"
    );
    assert!(restored.account_by_name("alice").await.unwrap().is_some());
    // A restored backup lacks later events, so it has a new store epoch.
    assert_ne!(restored.epoch().await.unwrap(), store.epoch().await.unwrap());
}

#[tokio::test]
async fn backup_by_path_runs_beside_an_open_store() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, world) = world(source.path()).await;
    let copy = target.path().join("backup.db");
    chat_store_sqlite::backup(source.path(), &copy).await.unwrap();
    append(&*store, world.group, world.alice, vec![NewEvent::message("after")])
        .await
        .unwrap();
    assert_eq!(files(target.path()), ["backup.db"]);
}

#[tokio::test]
async fn backup_never_overwrites_a_file() {
    let source = tempfile::tempdir().unwrap();
    let (store, _world) = world(source.path()).await;
    let live = source.path().join(DATABASE_FILE);
    let refused = store.backup_to(&live).await;
    assert!(matches!(refused, Err(BackupError::Exists(path)) if path == live));
    assert!(store.account_by_name("alice").await.unwrap().is_some());
}

#[tokio::test]
async fn failed_backup_leaves_no_file() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _world) = world(source.path()).await;
    let in_missing_directory = target.path().join("missing").join("backup.db");
    let failed = store.backup_to(&in_missing_directory).await;
    assert!(matches!(failed, Err(BackupError::Write(..))), "{failed:?}");
    let empty = tempfile::tempdir().unwrap();
    let failed = chat_store_sqlite::backup(empty.path(), target.path().join("backup.db")).await;
    assert!(
        matches!(failed, Err(BackupError::Open(OpenError::Missing { .. }))),
        "{failed:?}"
    );
    assert_eq!(files(target.path()), Vec::<String>::new());
    assert_eq!(files(empty.path()), Vec::<String>::new());
}

/// Dropping the runtime waits for the thread of the backup.
#[test]
fn dropped_backup_leaves_no_unfinished_file() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (store, world) = world(source.path()).await;
        for _ in 0..20 {
            let new_events = (0..20).map(|_| NewEvent::message("x".repeat(60_000))).collect();
            append(&*store, world.group, world.alice, new_events).await.unwrap();
        }
        let backup = store.backup_to(target.path().join("backup.db"));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, backup).await.is_err());
    });
    drop(runtime);
    assert!(files(target.path()).iter().all(|name| name == "backup.db"));
}

#[tokio::test]
async fn empty_file_is_not_backed_up() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(source.path().join(DATABASE_FILE), "").unwrap();
    let refused = chat_store_sqlite::backup(source.path(), target.path().join("backup.db")).await;
    assert!(
        matches!(refused, Err(BackupError::Open(OpenError::Empty { .. }))),
        "{refused:?}"
    );
    assert_eq!(files(target.path()), Vec::<String>::new());
}

#[tokio::test]
async fn backup_creates_no_lock_file() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _world) = world(source.path()).await;
    store.close().await;
    std::fs::remove_file(source.path().join("lock")).unwrap();
    let before = files(source.path());
    chat_store_sqlite::backup(source.path(), target.path().join("backup.db"))
        .await
        .unwrap();
    assert_eq!(files(source.path()), before);
}

/// The test holds the lock as a backup does while it checks the write-ahead log.
#[tokio::test]
async fn opening_waits_for_a_backup_that_checks_the_log() {
    let source = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(source.path().join("lock")).unwrap();
    lock.try_lock_shared().unwrap();
    let opening = SqliteStore::open(source.path(), Options::default());
    let end_of_check = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        drop(lock);
    };
    tokio::join!(opening, end_of_check).0.unwrap();
}
