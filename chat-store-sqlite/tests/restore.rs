//! Tests of restoring a backup into a data directory.

#![allow(clippy::unwrap_used)] // these are tests

mod common;

use std::path::Path;
use std::sync::Arc;

use chat_core::model::{ConversationId, Seq};
use chat_core::store::{AccountStore, MessageStore, Store};
use chat_core::testkit::store::{NewEvent, World, append};
use chat_store_sqlite::{BackupError, DATABASE_FILE, OpenError, Options, SqliteStore, backup, restore};
use rusqlite::Connection;

async fn open(directory: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(directory, Options::default()).await.unwrap())
}

/// Opens the store and returns the number of events of the group of a [`World`]. Closes the store.
async fn event_count(directory: &Path) -> usize {
    let store = open(directory).await;
    let events = store.events(ConversationId(2), Seq(1), Seq(u64::MAX), 9999).await;
    store.close().await;
    assert_eq!(common::integrity(directory), "ok");
    events.unwrap().len()
}

fn messages(count: usize) -> Vec<NewEvent> {
    vec![(); count]
        .iter()
        .map(|()| NewEvent::message("x".repeat(900)))
        .collect()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn restored_backup_replaces_the_database_of_a_killed_server_and_keeps_it() {
    let (live, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    append(&*store, world.group, world.alice, messages(5)).await.unwrap();
    let backup = live.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    let content = std::fs::read(&backup).unwrap();
    let count = store
        .events(world.group, Seq(1), Seq(u64::MAX), 9999)
        .await
        .unwrap()
        .len();
    append(&*store, world.group, world.alice, messages(50)).await.unwrap();
    for name in [DATABASE_FILE, "chat.db-wal", "chat.db-opening"] {
        std::fs::copy(live.path().join(name), killed.path().join(name)).unwrap();
    }

    let restored = restore(killed.path(), &backup).await.unwrap();
    assert_eq!(std::fs::read(&backup).unwrap(), content, "the backup is unchanged");
    let former = restored.former.unwrap();
    let file_name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut expected = vec![DATABASE_FILE.to_owned(), file_name(&former), "lock".to_owned()];
    expected.push(format!("{}-wal", file_name(&former)));
    expected.sort();
    assert_eq!(names(killed.path()), expected);
    assert_eq!(open(killed.path()).await.epoch().await.unwrap(), restored.epoch);
    assert_eq!(event_count(killed.path()).await, count);

    // The former database, with the log of the killed server.
    let earlier = restore(killed.path(), &former).await.unwrap();
    assert_eq!(event_count(killed.path()).await, count + 50);
    assert_ne!(earlier.epoch, restored.epoch);
}

#[tokio::test]
async fn restore_creates_the_directory_and_gives_every_copy_its_own_epoch() {
    let source = tempfile::tempdir().unwrap();
    let store = open(source.path()).await;
    World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let backup = source.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    let target = source.path().join("new").join("data");
    let first = restore(&target, &backup).await.unwrap();
    assert_eq!(first.former, None);
    assert_eq!(names(&target), [DATABASE_FILE, "lock"]);
    assert!(open(&target).await.account_by_name("alice").await.unwrap().is_some());
    let second = restore(&target, &backup).await.unwrap();
    assert_ne!(first.epoch, second.epoch);
}

#[tokio::test]
async fn restore_is_refused_while_a_store_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let backup = directory.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    let before = names(directory.path());
    let refused = restore(directory.path(), &backup).await;
    assert!(
        matches!(refused, Err(BackupError::Open(OpenError::InUse { .. }))),
        "{refused:?}"
    );
    assert_eq!(names(directory.path()), before);
    assert!(store.account_by_name("alice").await.unwrap().is_some());
}

#[tokio::test]
async fn unusable_file_is_not_restored_and_the_directory_keeps_its_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    append(&*store, world.group, world.alice, messages(50)).await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    store.backup_to(path("good.db")).await.unwrap();
    store.close().await;
    let count = event_count(directory.path()).await;

    let mut bytes = std::fs::read(path("good.db")).unwrap();
    bytes[4096..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0xa5);
    std::fs::write(path("damaged.db"), &bytes).unwrap();
    std::fs::write(path("empty.db"), "").unwrap();
    std::fs::write(path("text.db"), "not a database".repeat(1000)).unwrap();
    std::fs::copy(path("good.db"), path("newer.db")).unwrap();
    Connection::open(path("newer.db"))
        .unwrap()
        .execute("INSERT INTO migration VALUES (99, 'future', x'00')", [])
        .unwrap();
    for name in ["damaged.db", "empty.db", "text.db", "newer.db", "missing.db"] {
        let refused = restore(directory.path(), path(name)).await;
        assert!(
            matches!(refused, Err(BackupError::Open(_) | BackupError::Damaged(_))),
            "{name}: {refused:?}"
        );
        assert_eq!(names(directory.path()), [DATABASE_FILE, "chat.db-opening", "lock"]);
        assert_eq!(event_count(directory.path()).await, count, "{name}");
    }
}

/// A backup that runs during a restoration would open the copy with the log of the former database.
#[tokio::test]
async fn restore_and_backup_exclude_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    let store = open(directory.path()).await;
    store.backup_to(path("good.db")).await.unwrap();
    store.close().await;
    let is_in_use = |error: &BackupError| matches!(error, BackupError::Open(OpenError::InUse { .. }));

    // A restoration has this lock exclusively, and backups share it.
    let copy_lock = std::fs::File::open(directory.path()).unwrap();
    copy_lock.try_lock().unwrap();
    let refused = backup(directory.path(), path("second.db")).await.unwrap_err();
    assert!(is_in_use(&refused), "{refused:?}");
    copy_lock.unlock().unwrap();
    copy_lock.try_lock_shared().unwrap();
    backup(directory.path(), path("second.db")).await.unwrap();
    let refused = restore(directory.path(), path("good.db")).await.unwrap_err();
    assert!(is_in_use(&refused), "{refused:?}");
    drop(copy_lock);
    restore(directory.path(), path("good.db")).await.unwrap();
}

/// The owner of the directory may have made the link, and root may run the restoration.
#[cfg(unix)]
#[tokio::test]
async fn linked_lock_does_not_change_the_mode_of_another_file() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let (files, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let saved = files.path().join("backup.db");
    open(source.path()).await.backup_to(&saved).await.unwrap();
    let target = files.path().join("target");
    std::fs::write(&target, "").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mode = || std::fs::metadata(&target).unwrap().permissions().mode() & 0o777;

    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("lock");
    symlink(&target, &lock).unwrap();
    let refused = restore(directory.path(), &saved).await;
    assert!(
        matches!(refused, Err(BackupError::Open(OpenError::NotWritable { .. }))),
        "{refused:?}"
    );
    assert_eq!(mode(), 0o644);
    std::fs::remove_file(&lock).unwrap();
    std::fs::hard_link(&target, &lock).unwrap();
    restore(directory.path(), &saved).await.unwrap();
    assert_eq!(mode(), 0o644);
}
