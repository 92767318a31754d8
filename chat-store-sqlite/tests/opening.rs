//! Tests of opening data directories: reopened, already in use, damaged, written by a newer
//! release, full.

#![allow(clippy::unwrap_used)] // these are tests

mod common;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chat_core::model::{ConversationId, DeviceId, Member, MemberState, PageFrom, Role, Seq, UserId};
use chat_core::store::{
    AccountStore, ConversationStore, CursorStore, MessageStore, Store, StoreError, Transaction, TxError, Unit,
};
use chat_core::testkit::store::{Draft, World, append, new_account, transact};
use chat_store_sqlite::{DATABASE_FILE, OpenError, Options, SqliteStore};
use rusqlite::Connection;

async fn open(directory: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(directory, Options::default()).await.unwrap())
}

async fn open_error(directory: &Path) -> OpenError {
    SqliteStore::open(directory, Options::default()).await.unwrap_err()
}

fn raw(directory: &Path) -> Connection {
    Connection::open(directory.join(DATABASE_FILE)).unwrap()
}

fn messages(count: usize, bytes: usize) -> Vec<Draft> {
    vec![(); count]
        .iter()
        .map(|()| Draft::message("x".repeat(bytes)))
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
async fn dropping_completes_running_units_and_releases_the_directory() {
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

/// The state at which members left before the migration is not known: they keep the state at it.
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
            "DROP TABLE group_snapshot; DROP TABLE recalled_message; DELETE FROM migration WHERE version > 1",
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

#[tokio::test]
async fn newer_schema_is_rejected_and_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    let conn = raw(directory.path());
    conn.execute(
        "INSERT INTO migration (version, name, checksum) VALUES (99, 'future', x'00')",
        [],
    )
    .unwrap();
    drop(conn);
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
    let version: u32 = raw(directory.path())
        .query_row("SELECT MAX(version) FROM migration", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn changed_migration_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    raw(directory.path())
        .execute("UPDATE migration SET checksum = x'00'", [])
        .unwrap();
    let error = open_error(directory.path()).await;
    assert!(
        matches!(error, OpenError::ChangedMigration { version: 1, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn file_of_another_program_is_rejected_and_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    raw(directory.path())
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let before = std::fs::read(directory.path().join(DATABASE_FILE)).unwrap();
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    let after: u32 = raw(directory.path())
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(after, 1);
    assert!(!before.is_empty());
}

#[tokio::test]
async fn damaged_header_is_reported_with_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.close().await;
    let path = directory.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..64].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert!(chain(&error).contains("restore it from a backup"), "{}", chain(&error));
}

#[tokio::test]
async fn damaged_pages_cause_an_error_and_never_a_wrong_answer() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    append(&*store, world.group, world.alice, messages(100, 1000))
        .await
        .unwrap();
    store.close().await;
    drop((store, world.store));
    let path = directory.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    // All pages except the first, which holds the schema.
    bytes[4096..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0xa5);
    std::fs::write(&path, bytes).unwrap();
    match SqliteStore::open(directory.path(), Options::default()).await {
        Err(error) => assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}"),
        Ok(store) => {
            let answer = store.events(ConversationId(2), Seq(1), Seq(100), 100).await;
            assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn unwritable_directory_is_reported_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    // No user, not even root, can create files in these directories.
    for path in [file.join("data"), file, "/proc/self".into()] {
        let error = open_error(&path).await;
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn full_store_rejects_writes_keeps_its_data_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.max_pages = Some(100);
    let store = Arc::new(SqliteStore::open(directory.path(), options).await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let mut acked = Vec::new();
    let error = loop {
        match append(&*store, world.group, world.alice, messages(4, 2000)).await {
            Ok(events) => acked.extend(events),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, StoreError::Full(_)) && error.is_retryable(),
        "{error:?}"
    );
    assert!(!acked.is_empty());
    // Of many simultaneous writes, none is acknowledged by mistake, and reads still work.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (store, group, alice) = (Arc::clone(&store), world.group, world.alice);
        tasks.spawn(async move { append(&*store, group, alice, messages(4, 2000)).await });
    }
    for answer in tasks.join_all().await {
        assert!(matches!(answer, Err(StoreError::Full(_))), "{answer:?}");
    }
    store.advance_reads(&[(world.bob, world.group, Seq(1))]).await.unwrap();
    assert_eq!(
        store
            .events(world.group, Seq(1), Seq(u64::MAX), u32::MAX)
            .await
            .unwrap(),
        acked
    );
    store.close().await;
    drop((store, world.store));

    let store = open(directory.path()).await;
    let more = append(&*store, world.group, world.alice, messages(4, 2000))
        .await
        .unwrap();
    assert_eq!(more[0].seq.0, acked.len() as u64 + 1);
    store.close().await;
    assert_eq!(common::integrity(directory.path()), "ok");
}

#[tokio::test]
async fn erased_text_is_removed_from_all_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let secret = "a secret to erase";
    append(
        &*store,
        world.group,
        world.alice,
        vec![Draft::message(secret), Draft::message("kept")],
    )
    .await
    .unwrap();
    let group = world.group;
    let erase = transact(&*store, move |tx| {
        Box::pin(async move {
            tx.lock_conversation(group).await?;
            Ok(tx
                .erase(group, Seq(1), Seq(1), b"stone".as_slice().into(), Vec::new().into())
                .await?)
        })
    });
    erase.await.unwrap();
    store.close().await;
    drop((store, world.store));
    let mut kept = false;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(secret));
        kept |= holds("kept");
    }
    assert!(kept);
}

#[tokio::test]
async fn full_queue_rejects_requests_as_overloaded() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.max_waiting_units = 2;
    options.max_waiting_reads = 2;
    let store = Arc::new(SqliteStore::open(directory.path(), options).await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (store, group, alice) = (Arc::clone(&store), world.group, world.alice);
        tasks.spawn(async move { append(&*store, group, alice, messages(1, 1)).await });
    }
    let (mut acked, mut refused) = (0, 0);
    for answer in tasks.join_all().await {
        match answer {
            Ok(_) => acked += 1,
            Err(StoreError::Overloaded) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(acked > 0 && refused > 0, "{acked} acknowledged, {refused} refused");
    let row = store.conversation(world.group).await.unwrap().unwrap();
    assert_eq!(row.last_seq, Seq(acked));
}

/// Unit of work that writes, then awaits something other than its transaction.
#[derive(Debug)]
struct YieldingUnit;

#[async_trait]
impl Unit for YieldingUnit {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        tx.create_account(new_account("alice")).await?;
        tokio::task::yield_now().await;
        Ok(())
    }
}

#[tokio::test]
async fn unit_that_awaits_more_than_its_transaction_is_rejected() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let answer = store.transact(Box::new(YieldingUnit)).await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))));
    assert_eq!(store.account_by_name("alice").await.unwrap(), None);
}

#[tokio::test]
async fn memberships_of_two_thousand_conversations_are_read_within_a_second() {
    const COUNT: u64 = 2000;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let reader = UserId(1);
    for batch in 0..COUNT / 100 {
        let work = transact(&*store, move |tx| {
            Box::pin(async move {
                for number in 1..=100 {
                    let id = tx.create_conversation(common::group(batch * 100 + number)).await?;
                    let id = id.ok_or(TxError::Abort)?;
                    tx.put_member(&Member::active(id, reader, Role::Member, Seq(1))).await?;
                    chat_core::testkit::store::append_to(tx, id, UserId(2), &messages(5, 50)).await?;
                    tx.advance_read(id, &[(reader, Seq(number % 6))]).await?;
                }
                Ok(())
            })
        });
        work.await.unwrap();
    }
    let started = std::time::Instant::now();
    let memberships = store.memberships(reader, DeviceId([0; 16])).await.unwrap();
    let took = started.elapsed();
    println!("{COUNT} memberships in {took:?}");
    assert_eq!(memberships.len() as u64, COUNT);
    for membership in memberships {
        assert_eq!(membership.unread, 5 - membership.member.read_seq.0);
    }
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    let page = chat_core::model::Page {
        from: PageFrom::Newest,
        max_events: 2,
        max_bytes: 1000,
    };
    assert!(
        store
            .events_for(reader, ConversationId(1), page)
            .await
            .unwrap()
            .unwrap()
            .more
    );
}

/// Returns the modes of the files, by name.
#[cfg(unix)]
fn modes(directory: &Path) -> Vec<(String, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut modes: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .collect();
    modes.sort();
    modes
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_private_in_a_shared_directory() {
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    let store = open(directory.path()).await;
    World::new(Arc::clone(&store) as Arc<dyn Store>).await;
    let private = ["chat.db", "chat.db-shm", "chat.db-wal", "lock"].map(|name| (name.to_owned(), 0o600));
    assert_eq!(modes(directory.path()), private);
    let target = tempfile::tempdir().unwrap();
    set_mode(target.path(), 0o755);
    store.backup_to(target.path().join("copy.db")).await.unwrap();
    assert_eq!(modes(target.path()), [("copy.db".to_owned(), 0o600)]);
    drop(store);

    // The modes of files from an earlier release, and the log that a killed process left.
    for (name, _) in modes(directory.path()) {
        set_mode(&directory.path().join(name), 0o644);
    }
    let log = directory.path().join("chat.db-wal");
    std::fs::write(&log, "").unwrap();
    set_mode(&log, 0o664);
    let store = open(directory.path()).await;
    assert!(store.account_by_name("alice").await.unwrap().is_some());
    assert_eq!(modes(directory.path()), private);
}

#[cfg(unix)]
#[tokio::test]
async fn created_directories_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    let made = directory.path().join("new").join("data");
    drop(open(&made).await);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&made), 0o700);
    assert_eq!(mode(directory.path()), 0o755, "an existing directory keeps its mode");
}

#[tokio::test]
async fn opening_without_migration_creates_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let mut options = Options::default();
    options.migrate = false;
    let open = async || SqliteStore::open(&directory, options.clone()).await;
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
