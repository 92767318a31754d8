//! Tests of opening data directories that are new, reopened, already in use, damaged, replaced, or
//! written by another release; and of the limits of an open store and the privacy of its files.

#![allow(clippy::unwrap_used)] // these are tests

#[path = "../common/mod.rs"]
mod common;
mod damage;
mod limits;
mod privacy;
mod replaced;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::model::{ConversationId, DeviceId, EventKind, Member, MemberState, Role, Seq, UserId};
use chat_core::store::{
    AccountStore, ConversationStore, CursorStore, MessageStore, Store, StoreError, Transaction, TxError, Unit,
};
use chat_core::testkit::store::{NewEvent, World, append, append_to, new_account, transact};
use chat_store_sqlite::{DATABASE_FILE, OpenError, Options, SqliteStore};
use rusqlite::Connection;

async fn open(directory: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(directory, Options::default()).await.unwrap())
}

async fn open_error(directory: &Path) -> OpenError {
    SqliteStore::open(directory, Options::default()).await.unwrap_err()
}

/// Opens the database file directly, without the store.
fn raw(directory: &Path) -> Connection {
    Connection::open(directory.join(DATABASE_FILE)).unwrap()
}

/// Returns messages with texts of `bytes` bytes.
fn messages(count: usize, bytes: usize) -> Vec<NewEvent> {
    vec![(); count]
        .iter()
        .map(|()| NewEvent::message("x".repeat(bytes)))
        .collect()
}

/// Returns the message of an error and its causes, as a log shows them.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[tokio::test]
async fn reopened_store_has_its_data() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let device = store.devices(world.bob).await.unwrap()[0].id;
    let events = append(&*store, world.group, world.alice, messages(3, 10))
        .await
        .unwrap();
    store
        .advance_cursors(&[(world.bob, device, world.group, Seq(2))])
        .await
        .unwrap();
    store.advance_reads(&[(world.bob, world.group, Seq(1))]).await.unwrap();
    let before = store.membership(world.bob, device, world.group).await.unwrap();
    let epoch = store.epoch().await.unwrap();
    store.close().await;
    drop((store, world.store));

    let store = open(directory.path()).await;
    assert_eq!(store.epoch().await.unwrap(), epoch);
    assert_eq!(store.membership(world.bob, device, world.group).await.unwrap(), before);
    assert_eq!(store.events(world.group, Seq(1), Seq(9), 9).await.unwrap(), events);
    let more = append(&*store, world.group, world.alice, messages(1, 1)).await.unwrap();
    assert_eq!(more[0].seq, Seq(4));
}

#[tokio::test]
async fn dropped_store_keeps_its_data_and_releases_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..5_u64 {
        let store = open(directory.path()).await;
        let name: &'static str = ["a", "b", "c", "d", "e"][round as usize];
        let made = transact(&*store, move |tx| {
            Box::pin(async move { Ok(tx.create_account(new_account(name)).await?) })
        });
        assert_eq!(made.await.unwrap(), Some(UserId(round + 1)));
        drop(store);
    }
    assert_eq!(
        open(directory.path()).await.search_accounts("", 9).await.unwrap().len(),
        5
    );
}

#[tokio::test]
async fn missing_directory_is_created_with_its_parents() {
    let directory = tempfile::tempdir().unwrap();
    let nested = directory.path().join("a/b/c");
    open(&nested).await.close().await;
    assert!(nested.join(DATABASE_FILE).is_file());
}

#[tokio::test]
async fn unwritable_directory_is_reported_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    // No user, not even root, can create a data directory at these paths.
    for path in [file.join("data"), file, "/proc/self".into()] {
        let error = open_error(&path).await;
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn second_open_fails_and_names_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&directory.path().display().to_string()) && text.contains("stop that process first"),
        "{text}"
    );
    store.close().await;
    open(directory.path()).await;
}

/// For members who left before migration 2, which adds the table `group_snapshot`, the store does
/// not know the state of the group at that time. They see the state at the time of the migration,
/// except that the time of the last event is that of the last event that they may read.
#[tokio::test]
async fn migration_gives_former_members_the_current_state() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let events = append(&*store, world.group, world.alice, messages(3, 10))
        .await
        .unwrap();
    let (group, carol) = (world.group, world.carol);
    let leave = transact(&*store, move |tx| {
        Box::pin(async move {
            let mut member = Member::active(group, carol, Role::Member, Seq(1));
            member.state = MemberState::Left;
            member.until_seq = Some(Seq(2));
            Ok(tx.put_member(&member).await?)
        })
    });
    leave.await.unwrap();
    store.close().await;
    drop((store, world));
    raw(directory.path())
        .execute_batch(
            "DROP TABLE group_snapshot; DROP TABLE recalled_message; DROP TABLE session_token;
             DROP TABLE request_notice; DROP INDEX contact_state;
             DELETE FROM migration WHERE version > 1",
        )
        .unwrap();

    let store = open(directory.path()).await;
    let membership = store.membership(carol, DeviceId([0; 16]), group).await.unwrap();
    let membership = membership.unwrap();
    let snapshot = membership.snapshot.unwrap();
    assert_eq!(Some(snapshot.profile), membership.conversation.group);
    assert_eq!(snapshot.member_count, membership.conversation.member_count);
    assert_eq!(snapshot.last_time, events[1].time);
}

/// Messages that were recalled before migration 3, which adds the table `recalled_message`, stop
/// counting as unread.
#[tokio::test]
async fn migration_leaves_recalled_messages_out_of_unread_counts() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let (group, alice, carol) = (world.group, world.alice, world.carol);
    let mut new_events = messages(3, 10);
    new_events[0] = NewEvent::message("@all").mentioning(&[UserId(0)]);
    new_events.push(NewEvent::of(EventKind::Reaction, Some(Seq(3))));
    append(&*store, group, alice, new_events).await.unwrap();
    let recall = transact(&*store, move |tx| {
        Box::pin(async move {
            // The second recall has a target that is no message.
            for target in [Seq(1), Seq(4)] {
                let recall = [NewEvent::of(EventKind::Recall, Some(target))];
                let recall = append_to(tx, group, alice, &recall).await?[0].seq;
                let empty = bytes::Bytes::new;
                tx.erase(group, target, recall, empty(), empty()).await?;
            }
            Ok(())
        })
    });
    recall.await.unwrap();
    let counts = async |store: &SqliteStore| {
        let membership = store.membership(carol, DeviceId([0; 16]), group).await.unwrap();
        let membership = membership.unwrap();
        (membership.unread, membership.unread_mentions)
    };
    let before = counts(&store).await;
    assert_eq!(before, (2, 0));
    store.close().await;
    drop((store, world));
    raw(directory.path())
        .execute_batch(
            "DROP TABLE group_snapshot; DROP TABLE recalled_message; DROP TABLE session_token;
             DROP TABLE request_notice; DROP INDEX contact_state;
             DELETE FROM migration WHERE version > 1",
        )
        .unwrap();
    assert_eq!(counts(&*open(directory.path()).await).await, before);
}

#[tokio::test]
async fn renewal_of_the_epoch_creates_no_store_in_an_empty_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(DATABASE_FILE);
    std::fs::write(&path, "").unwrap();
    let renewed = SqliteStore::renew_epoch(directory.path()).await;
    assert!(matches!(renewed, Err(OpenError::Empty { .. })), "{renewed:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    // A store of an earlier release is migrated, because a restored copy may be one.
    std::fs::remove_file(&path).unwrap();
    open(directory.path()).await.close().await;
    raw(directory.path())
        .execute_batch("DROP INDEX contact_state; DELETE FROM migration WHERE version = 6")
        .unwrap();
    SqliteStore::renew_epoch(directory.path()).await.unwrap();
}

#[tokio::test]
async fn opening_without_migration_creates_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let mut options = Options::default();
    options.migrate = false;
    let open = async || SqliteStore::open(&directory, options.clone()).await;
    // The directory does not exist in the first round, and is empty in the second.
    for _ in 0..2 {
        assert!(matches!(open().await, Err(OpenError::Missing { .. })));
        assert!(matches!(
            SqliteStore::renew_epoch(&directory).await,
            Err(OpenError::Missing { .. })
        ));
        let entries = |path: &Path| std::fs::read_dir(path).unwrap().count();
        if directory.exists() {
            assert_eq!(entries(&directory), 0);
        } else {
            assert_eq!(entries(parent.path()), 0);
            std::fs::create_dir(&directory).unwrap();
        }
    }
    drop(SqliteStore::open(&directory, Options::default()).await.unwrap());
    drop(open().await.unwrap());
    raw(&directory).execute("DELETE FROM migration", []).unwrap();
    assert!(matches!(open().await, Err(OpenError::OlderSchema { found: 0, .. })));
}
