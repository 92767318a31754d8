//! Tests of opening a store: unsafe settings, a failed open, migrations, the epoch, and the cluster
//! key.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use std::time::Duration;

use chat_core::model::{DeviceId, EventKind, Member, MemberState, NodeId, Role, Seq};
use chat_core::store::{ConversationStore, MessageStore, Store};
use chat_core::testkit::store::{NewEvent, append, append_to, transact};
use chat_store_mysql::{MysqlStore, OpenError, Options};
use mysql_async::prelude::Queryable;
use support::{server, world};

/// Maximum time of a test step. Only a step that fails takes this long.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn unsafe_settings_are_rejected_unless_allowed() {
    let (server, url) = server(&["--skip-log-bin", "--innodb-flush-log-at-trx-commit=2"]);
    let refused = MysqlStore::open(&url, Options::default()).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("innodb_flush_log_at_trx_commit is 2") && text.contains("log_bin is off"),
        "{text}"
    );
    assert_eq!(server.sql("SHOW TABLES IN chat").unwrap(), "", "no table was created");
    let mut options = Options::default();
    options.allow_unsafe_durability = true;
    MysqlStore::open(&url, options).await.unwrap().close().await;
}

/// Also checks that two simultaneous openings agree on the epoch, and that an operator can renew
/// it.
#[tokio::test]
async fn failed_open_states_the_reason() {
    let (server, url) = server(&[]);
    let open = async |url: &str| MysqlStore::open(url, Options::default()).await.unwrap_err();
    let wrong_user = url.replace("root@", "nobody:hunter2@");
    let error = open(&wrong_user).await;
    assert!(matches!(error, OpenError::Connect(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    let error = open(&url.replace("/chat", "/elsewhere")).await;
    assert!(matches!(error, OpenError::Connect(_)), "{error:?}");

    let mut options = Options::default();
    options.migrate = false;
    let error = MysqlStore::open(&url, options.clone()).await.unwrap_err();
    assert!(matches!(error, OpenError::OlderSchema { found: 0, .. }), "{error:?}");
    let renewed = MysqlStore::renew_epoch(&url, Options::default()).await;
    assert!(
        matches!(renewed, Err(OpenError::OlderSchema { found: 0, .. })),
        "no store is created: {renewed:?}"
    );
    assert_eq!(server.sql("SHOW TABLES FROM chat").unwrap(), "");
    // Of two simultaneous openers, one migrates and the other waits.
    let (one, other) = tokio::join!(
        MysqlStore::open(&url, Options::default()),
        MysqlStore::open(&url, Options::default())
    );
    assert_eq!(
        one.unwrap().epoch().await.unwrap(),
        other.unwrap().epoch().await.unwrap()
    );
    let before = MysqlStore::open(&url, options.clone()).await.unwrap();
    // An operator renews the epoch after restoring a backup.
    let renewed = MysqlStore::renew_epoch(&url, options.clone()).await.unwrap();
    assert_ne!(before.epoch().await.unwrap(), renewed);
    let after = MysqlStore::open(&url, options).await.unwrap();
    assert_eq!(after.epoch().await.unwrap(), renewed);

    server
        .sql("UPDATE chat.migration SET checksum = REPEAT('x', 32)")
        .unwrap();
    assert!(matches!(open(&url).await, OpenError::ChangedMigration { version: 1 }));
    server
        .sql("INSERT INTO chat.migration VALUES (99, 'later', REPEAT('x', 32))")
        .unwrap();
    assert!(matches!(open(&url).await, OpenError::NewerSchema { found: 99, .. }));
    drop(server);
    assert!(matches!(open(&url).await, OpenError::Connect(_)));
}

/// Migrations 2 and 3 fill their tables from the data of version 1. The next opening completes
/// migrations that were interrupted before they were recorded.
#[tokio::test]
async fn migration_from_version_1_fills_snapshots_and_recalled_messages() {
    let (server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let (group, alice, bob, carol) = (world.group, world.alice, world.bob, world.carol);
    let mut new_events: Vec<NewEvent> = ["one", "two", "three"].map(NewEvent::message).into();
    new_events.push(NewEvent::of(EventKind::Reaction, Some(Seq(3))));
    let events = append(&*store, group, alice, new_events).await.unwrap();
    let work = transact(&*store, move |tx| {
        Box::pin(async move {
            // The target of the second recall is no message.
            for target in [Seq(1), Seq(4)] {
                let recall = [NewEvent::of(EventKind::Recall, Some(target))];
                let recall = append_to(tx, group, alice, &recall).await?[0].seq;
                let empty = bytes::Bytes::new;
                tx.erase(group, target, recall, empty(), empty()).await?;
            }
            let mut member = Member::active(group, carol, Role::Member, Seq(1));
            member.state = MemberState::Left;
            member.until_seq = Some(Seq(2));
            Ok(tx.put_member(&member).await?)
        })
    });
    work.await.unwrap();
    let unread = async |store: &MysqlStore, user| {
        let membership = store.membership(user, DeviceId([0; 16]), group).await.unwrap();
        membership.unwrap().unread
    };
    assert_eq!((unread(&store, bob).await, unread(&store, carol).await), (2, 1));
    store.close().await;
    drop((store, world));
    // In the second round, the statements of the migrations were executed but not recorded.
    for are_tables_missing in [true, false] {
        if are_tables_missing {
            server
                .sql("DROP TABLE chat.group_snapshot, chat.recalled_message, chat.session_token, chat.user_change, chat.request_notice")
                .unwrap();
            server.sql("ALTER TABLE chat.contact DROP KEY contact_state").unwrap();
        }
        server.sql("DELETE FROM chat.migration WHERE version > 1").unwrap();
        let store = MysqlStore::open(&url, Options::default()).await.unwrap();
        assert_eq!((unread(&store, bob).await, unread(&store, carol).await), (2, 1));
        let left = store
            .membership(carol, DeviceId([0; 16]), group)
            .await
            .unwrap()
            .unwrap();
        let snapshot = left.snapshot.unwrap();
        assert_eq!(Some(snapshot.profile), left.conversation.group);
        assert_eq!(snapshot.member_count, left.conversation.member_count);
        assert_eq!(snapshot.last_time, events[1].time);
        let columns = "SELECT COUNT(*) FROM information_schema.statistics
                       WHERE table_schema = 'chat' AND index_name = 'contact_state'";
        assert_eq!(server.sql(columns).unwrap().trim(), "2");
        store.close().await;
    }
}

/// A node that starts waits until another connection has ended its migration, also if that takes
/// longer than one statement waits for the lock.
#[tokio::test]
async fn opening_waits_while_another_connection_migrates() {
    let (_server, url) = server(&[]);
    let connect = || mysql_async::Conn::new(mysql_async::Opts::from_url(&url).unwrap());
    let lock = "CONCAT('chat.migrate.', DATABASE())";
    let mut holder = connect().await.unwrap();
    let locked: Option<u64> = holder.query_first(format!("SELECT GET_LOCK({lock}, 0)")).await.unwrap();
    assert_eq!(locked, Some(1));
    let mut opening = Box::pin(MysqlStore::open(&url, Options::default()));
    // One statement waits 2 s for the lock, so the store has repeated the statement by then.
    let waited = tokio::time::timeout(Duration::from_secs(3), &mut opening).await;
    assert!(waited.is_err(), "{waited:?}");
    // The server releases the lock when the connection ends.
    holder.disconnect().await.unwrap();
    let opened = tokio::time::timeout(STEP_TIMEOUT, opening).await;
    opened.unwrap().unwrap().close().await;
}

/// The database is in the state that a crash leaves after some statements of a migration, before
/// the migration is recorded.
#[tokio::test]
async fn interrupted_migration_completes_and_keeps_the_epoch() {
    let (server, url) = server(&[]);
    let (group, before, epoch) = {
        let (world, store) = world(&url).await;
        append(&*store, world.group, world.alice, vec![NewEvent::message("kept")])
            .await
            .unwrap();
        let before = store.events(world.group, Seq(1), Seq(9), 9).await.unwrap();
        assert!(!before.is_empty());
        store.close().await;
        server.sql("DROP TABLE chat.node; DELETE FROM chat.migration").unwrap();
        let epoch = server
            .sql("SELECT HEX(value) FROM chat.meta WHERE name = 'epoch'")
            .unwrap();
        (world.group, before, epoch)
    };
    let mut options = Options::default();
    options.migrate = false;
    let refused = MysqlStore::open(&url, options).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::OlderSchema { found: 0, known: 1.. }),
        "{refused:?}"
    );
    let store = MysqlStore::open(&url, Options::default()).await.unwrap();
    assert_eq!(
        store
            .heartbeat(NodeId::random())
            .await
            .map(|heartbeat| heartbeat.peers)
            .unwrap(),
        []
    );
    let kept = server
        .sql("SELECT HEX(value) FROM chat.meta WHERE name = 'epoch'")
        .unwrap();
    assert_eq!(kept, epoch, "the epoch is kept");
    assert_eq!(store.events(group, Seq(1), Seq(9), 9).await.unwrap(), before);
}

/// All nodes of a database have its key, also after a restart. A new epoch comes with a new key.
#[tokio::test]
async fn cluster_key_belongs_to_the_database() {
    let (server, url) = server(&[]);
    let key = async |url: &str| {
        let store = MysqlStore::open(url, Options::default()).await.unwrap();
        let key = *store.cluster_key().await.unwrap().expose();
        store.close().await;
        key
    };
    let first = key(&url).await;
    assert_eq!(key(&url).await, first);
    server.sql("CREATE DATABASE other").unwrap();
    assert_ne!(key(&server.url("other")).await, first);
    MysqlStore::renew_epoch(&url, Options::default()).await.unwrap();
    assert_ne!(key(&url).await, first);
}

#[tokio::test]
async fn epoch_is_not_renewed_while_a_node_is_alive() {
    let (server, url) = server(&[]);
    let store = MysqlStore::open(&url, Options::default()).await.unwrap();
    store.heartbeat(NodeId([7; 16])).await.unwrap();
    store.close().await;
    let renew = async || MysqlStore::renew_epoch(&url, Options::default()).await;
    let refused = renew().await.unwrap_err();
    assert!(matches!(refused, OpenError::InUse { nodes: 1 }), "{refused:?}");
    server
        .sql("UPDATE chat.node SET heartbeat = heartbeat - 11000")
        .unwrap();
    renew().await.unwrap();
}

/// A node can open the store before the epoch is renewed, and send its first heartbeat after that.
#[tokio::test]
async fn store_with_a_former_epoch_rejects_requests_from_its_next_heartbeat_on() {
    let (_server, url) = server(&[]);
    let starting = MysqlStore::open(&url, Options::default()).await.unwrap();
    let node = NodeId([7; 16]);
    MysqlStore::renew_epoch(&url, Options::default()).await.unwrap();
    let failed = starting.heartbeat(node).await.unwrap_err();
    assert!(format!("{failed:?}").contains("restart the node"), "{failed:?}");
    let later = [starting.ping().await.unwrap_err(), starting.epoch().await.unwrap_err()];
    assert!(
        later
            .iter()
            .all(|error| format!("{error:?}").contains("restart the node")),
        "{later:?}"
    );
    starting.close().await;
    // The rejected heartbeat does not count as a live node.
    MysqlStore::renew_epoch(&url, Options::default()).await.unwrap();
    let restarted = MysqlStore::open(&url, Options::default()).await.unwrap();
    restarted.heartbeat(node).await.unwrap();
    restarted.close().await;
}
