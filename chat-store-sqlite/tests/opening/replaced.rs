//! Tests of opening a database that was put in the place of another one, with or without the
//! write-ahead log of the other; and of logs that belong to their database.

use super::*;

/// Names of the files that belong to one database: the database, its write-ahead log, and the note
/// about its last opening (see `pairing.rs`).
const FILES: [&str; 3] = [DATABASE_FILE, "chat.db-wal", "chat.db-opening"];

/// Copies files of a store. Those of an open store are as they are after the server was killed.
fn copy_files(names: &[&str], source: &Path, target: &Path) {
    for name in names {
        std::fs::copy(source.join(name), target.join(name)).unwrap();
    }
}

/// Opens the store and returns the number of events of the group of a [`World`]. Closes the store.
async fn event_count(directory: &Path) -> usize {
    let store = open(directory).await;
    let events = store.events(ConversationId(2), Seq(1), Seq(u64::MAX), 9999).await;
    store.close().await;
    assert_eq!(common::integrity(directory), "ok");
    events.unwrap().len()
}

/// Returns the names of the logs that were set aside.
fn unused_logs(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".unused")).collect()
}

#[tokio::test]
async fn log_of_a_killed_server_is_replayed() {
    let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    append(&*store, world.group, world.alice, messages(50, 900))
        .await
        .unwrap();
    let size = |name: &str| std::fs::metadata(live.path().join(name)).unwrap().len();
    assert!(size("chat.db-wal") > 40_000);
    // The note about the last opening is present, then it is that of another opening, then it is
    // missing.
    copy_files(&FILES, live.path(), copy.path());
    let count = event_count(copy.path()).await;
    assert!(count >= 50);
    copy_files(&FILES[..2], live.path(), copy.path());
    assert_eq!(event_count(copy.path()).await, count);
    let copy = tempfile::tempdir().unwrap();
    copy_files(&FILES[..2], live.path(), copy.path());
    assert_eq!(event_count(copy.path()).await, count);
    assert_eq!(unused_logs(copy.path()), Vec::<String>::new());
}

/// After one append, the log is short. After 40, it became so long that it was moved into the
/// database and started anew.
#[tokio::test]
async fn log_of_a_replaced_database_is_set_aside() {
    for appends in [1, 40] {
        let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = open(live.path()).await;
        let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
        append(&*store, world.group, world.alice, messages(5, 900))
            .await
            .unwrap();
        let backup = copy.path().join("backup.db");
        store.backup_to(&backup).await.unwrap();
        let backed_up = store.events(world.group, Seq(1), Seq(u64::MAX), 9999).await.unwrap();
        for _ in 0..appends {
            append(&*store, world.group, world.alice, messages(50, 9000))
                .await
                .unwrap();
        }
        copy_files(&FILES, live.path(), copy.path());
        std::fs::copy(&backup, copy.path().join(DATABASE_FILE)).unwrap();
        // A backup would let SQLite replay the log, and is refused.
        let refused = chat_store_sqlite::backup(copy.path(), copy.path().join("second.db")).await;
        assert!(
            matches!(
                refused,
                Err(chat_store_sqlite::BackupError::Open(OpenError::ForeignLog { .. }))
            ),
            "{refused:?}"
        );
        assert_eq!(event_count(copy.path()).await, backed_up.len(), "{appends}");
        assert_eq!(unused_logs(copy.path()).len(), 1);
        assert_eq!(event_count(copy.path()).await, backed_up.len(), "a second start");
    }
}

/// The copy was made with `cp` while the server was stopped, and so has the epoch of the store.
#[tokio::test]
async fn copy_that_replaces_the_database_of_a_killed_server_gets_a_new_epoch() {
    let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let epoch = store.epoch().await.unwrap();
    store.close().await;
    let count = event_count(live.path()).await;
    let cold = copy.path().join("cold.db");
    std::fs::copy(live.path().join(DATABASE_FILE), &cold).unwrap();
    let store = open(live.path()).await;
    append(&*store, world.group, world.alice, messages(50, 900))
        .await
        .unwrap();
    copy_files(&FILES, live.path(), copy.path());
    std::fs::rename(&cold, copy.path().join(DATABASE_FILE)).unwrap();
    let restored = open(copy.path()).await;
    assert_ne!(restored.epoch().await.unwrap(), epoch);
    restored.close().await;
    assert_eq!(event_count(copy.path()).await, count);
}

/// The first opening after the replacement fails: like an operator's command, it does not migrate
/// the store.
#[tokio::test]
async fn copy_gets_its_new_epoch_even_if_the_first_opening_fails() {
    let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let epoch = store.epoch().await.unwrap();
    store.close().await;
    let cold = copy.path().join("cold.db");
    std::fs::copy(live.path().join(DATABASE_FILE), &cold).unwrap();
    let store = open(live.path()).await;
    World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    copy_files(&FILES, live.path(), copy.path());
    std::fs::rename(&cold, copy.path().join(DATABASE_FILE)).unwrap();
    // The copy gets an older schema: it lacks a migration. It is changed in a directory of its own,
    // because opening it here would replay the log.
    let elsewhere = tempfile::tempdir().unwrap();
    copy_files(&FILES[..1], copy.path(), elsewhere.path());
    raw(elsewhere.path())
        .execute_batch("DROP TABLE session_token; DELETE FROM migration WHERE version = 4")
        .unwrap();
    copy_files(&FILES[..1], elsewhere.path(), copy.path());
    let mut options = Options::default();
    options.migrate = false;
    let refused = SqliteStore::open(copy.path(), options).await;
    assert!(matches!(refused, Err(OpenError::OlderSchema { .. })), "{refused:?}");
    assert_eq!(unused_logs(copy.path()).len(), 1);

    let renewed = open(copy.path()).await;
    let new_epoch = renewed.epoch().await.unwrap();
    assert_ne!(new_epoch, epoch);
    renewed.close().await;
    drop(renewed);
    assert_eq!(open(copy.path()).await.epoch().await.unwrap(), new_epoch, "once only");
}

/// There is no log beside the copy. In the second round, the first opening fails: like an
/// operator's command, it does not migrate the store.
#[tokio::test]
async fn copy_over_a_cleanly_stopped_store_gets_a_new_epoch() {
    for fails_at_first in [false, true] {
        let (live, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = open(live.path()).await;
        let epoch = store.epoch().await.unwrap();
        store.close().await;
        copy_files(&FILES[..1], live.path(), other.path());
        let store = open(live.path()).await;
        World::new(Arc::clone(&store) as Arc<dyn Store>).await;
        store.close().await;
        assert_eq!(
            open(live.path()).await.epoch().await.unwrap(),
            epoch,
            "the database was not replaced"
        );
        if fails_at_first {
            raw(other.path())
                .execute_batch("DROP TABLE session_token; DELETE FROM migration WHERE version = 4")
                .unwrap();
        }
        copy_files(&FILES[..1], other.path(), live.path());
        if fails_at_first {
            let mut options = Options::default();
            options.migrate = false;
            let refused = SqliteStore::open(live.path(), options).await;
            assert!(matches!(refused, Err(OpenError::OlderSchema { .. })), "{refused:?}");
        }
        let renewed = open(live.path()).await.epoch().await.unwrap();
        assert_ne!(renewed, epoch, "{fails_at_first}");
        assert_eq!(open(live.path()).await.epoch().await.unwrap(), renewed, "once only");
    }
}

/// The note about the last opening cannot be changed, as on a full disk.
#[tokio::test]
async fn log_of_a_replaced_database_stays_until_the_replacement_is_noted() {
    let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let backup = copy.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    append(&*store, world.group, world.alice, messages(50, 900))
        .await
        .unwrap();
    copy_files(&FILES, live.path(), copy.path());
    std::fs::copy(&backup, copy.path().join(DATABASE_FILE)).unwrap();
    let obstacle = copy.path().join("chat.db-opening.new");
    std::fs::create_dir(&obstacle).unwrap();
    open_error(copy.path()).await;
    assert!(copy.path().join(FILES[1]).exists());
    assert_eq!(unused_logs(copy.path()), Vec::<String>::new());
    std::fs::remove_dir(&obstacle).unwrap();
    open(copy.path()).await.close().await;
    assert_eq!(unused_logs(copy.path()).len(), 1);
}

#[tokio::test]
async fn renewal_of_the_epoch_does_not_replay_the_log_of_a_replaced_database() {
    let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let backup = copy.path().join("backup.db");
    store.backup_to(&backup).await.unwrap();
    let backed_up = store.events(world.group, Seq(1), Seq(u64::MAX), 9999).await.unwrap();
    append(&*store, world.group, world.alice, messages(50, 900))
        .await
        .unwrap();
    copy_files(&FILES, live.path(), copy.path());
    std::fs::copy(&backup, copy.path().join(DATABASE_FILE)).unwrap();
    let epoch = SqliteStore::renew_epoch(copy.path()).await.unwrap();
    assert_eq!(unused_logs(copy.path()).len(), 1);
    let restored = open(copy.path()).await;
    assert_eq!(restored.epoch().await.unwrap(), epoch);
    restored.close().await;
    drop(restored);
    assert_eq!(event_count(copy.path()).await, backed_up.len());
}

#[tokio::test]
async fn store_that_opens_during_a_backup_replays_its_log_later() {
    let (live, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(live.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    append(&*store, world.group, world.alice, messages(50, 900))
        .await
        .unwrap();
    // A process that reads, such as a backup, keeps the log from being moved into the database. An
    // opening meanwhile leaves no note about itself, so that its log cannot be taken for that of
    // another database.
    let reader = raw(live.path());
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM migration").unwrap();
    store.close().await;
    drop(store);
    let store = open(live.path()).await;
    let before = store.events(world.group, Seq(1), Seq(u64::MAX), 9999).await.unwrap();
    for name in &FILES[..2] {
        std::fs::copy(live.path().join(name), copy.path().join(name)).unwrap();
    }
    assert!(!live.path().join(FILES[2]).exists());
    assert_eq!(event_count(copy.path()).await, before.len());
    drop(reader);
}
