//! Tests of actions of operators and of the application while other transactions run, and of
//! opening a database without migrating it.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chat_core::auth::{Profile, Subject};
use chat_core::engine::Engine;
use chat_core::engine::operator::{CreateAccount, DeletedTexts, DeletionOptions, Operator, OperatorName};
use chat_core::model::{
    ClientMessageId, Command, DeviceId, Draft, EventBody, GroupName, MessageText, NewGroup, Note, Page, UserId,
    UserName,
};
use chat_core::prelude::Commands;
use chat_store_mysql::{MysqlStore, OpenError, Options};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use support::server;

/// Maximum time of one wait.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

async fn engine(url: &str) -> Engine {
    let store = MysqlStore::open(url, Options::default()).await.unwrap();
    Engine::builder(Arc::new(store)).build().await.unwrap()
}

async fn new_user(operator: &Operator, name: &str) -> UserId {
    let account = CreateAccount::new(UserName::parse(name).unwrap());
    operator.create_account(account).await.unwrap().id
}

/// Waits until at least this number of transactions wait for locks.
async fn wait_for_waiting_transactions(watcher: &mut Conn, wanted: u64) {
    let waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    let wait = async {
        while watcher.query_first::<u64, _>(waiting).await.unwrap() < Some(wanted) {
            // InnoDB refreshes this table only if no query has read it for 100 ms.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    let waited = tokio::time::timeout(STEP_TIMEOUT, wait).await;
    waited.unwrap_or_else(|_| panic!("there were never {wanted} waiting transactions"));
}

/// A message whose append has started before its sender is deleted is erased with the other texts
/// of the sender.
#[tokio::test(flavor = "multi_thread")]
async fn deletion_erases_messages_that_are_being_committed() {
    let (_server, url) = server(&[]);
    let engine = engine(&url).await;
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let alice = new_user(&operator, "alice").await;
    let bob = new_user(&operator, "bob").await;
    let alice = engine.session(alice, DeviceId::random()).await.unwrap();
    let bob_session = engine.session(bob, DeviceId::random()).await.unwrap();
    let group = NewGroup::new(GroupName::parse("rust").unwrap());
    let group = alice.create_group(group).await.unwrap().id;
    bob_session.join_group(group, Note::default()).await.unwrap();

    // Another transaction holds the key of the message, so that its insertion waits.
    let connect = || Conn::new(Opts::from_url(&url).unwrap());
    let (mut holder, mut watcher) = (connect().await.unwrap(), connect().await.unwrap());
    let key = ClientMessageId::random();
    let insert = "INSERT INTO event (conversation_id, seq, message_count, kind, sender_id, time, fingerprint, id,
                                     client_message_id, body)
                  VALUES (9999, 1, 1, 16, ?, 0, 0, ?, ?, '')";
    holder.query_drop("BEGIN").await.unwrap();
    let values = (bob.0, vec![1_u8; 16], key.0.to_vec());
    holder.exec_drop(insert, values).await.unwrap();
    let draft = Draft::text(MessageText::new("my address is ...").unwrap()).with_id(key);
    let conversation = group.into();
    let sending = tokio::spawn(bob_session.execute(Command::Send { conversation, draft }));
    wait_for_waiting_transactions(&mut watcher, 1).await;
    let deleting = tokio::spawn(async move {
        let mut deletion = DeletionOptions::default();
        deletion.texts = DeletedTexts::Erase;
        operator.delete_account(bob, deletion).await
    });
    wait_for_waiting_transactions(&mut watcher, 2).await;
    holder.query_drop("ROLLBACK").await.unwrap();
    sending.await.unwrap().unwrap();
    deleting.await.unwrap().unwrap();

    let page = alice.history(group, Page::newest(50)).await.unwrap();
    let mut messages = Vec::new();
    for event in page.events.iter().map(|entry| &entry.event) {
        if let Ok(EventBody::Message(message)) = event.body() {
            messages.push((event.sender, message.text));
        }
    }
    assert_eq!(messages, [(bob, String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_on_two_nodes_gives_each_subject_one_account() {
    let (_server, url) = server(&[]);
    let engines = [engine(&url).await, engine(&url).await];
    for round in 0..10 {
        let mut tasks = Vec::new();
        for n in 0..16 {
            let engine = engines[n / 4 % 2].clone();
            let subject = Subject::new(format!("s{round}-{}", n % 4)).unwrap();
            let mut profile = Profile::default();
            profile.name_hint = Some("same".to_owned());
            let provision = async move { engine.provision(subject, profile).await };
            tasks.push((n % 4, tokio::spawn(provision)));
        }
        let mut ids: BTreeMap<usize, BTreeSet<UserId>> = BTreeMap::new();
        for (subject, task) in tasks {
            ids.entry(subject).or_default().insert(task.await.unwrap().unwrap().id);
        }
        assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    }
}

#[tokio::test]
async fn opening_without_migration_creates_nothing() {
    let (server, url) = server(&[]);
    let mut options = Options::default();
    options.migrate = false;
    let refused = MysqlStore::open(&url, options.clone()).await.unwrap_err();
    assert!(matches!(refused, OpenError::OlderSchema { found: 0, .. }), "{refused}");
    assert_eq!(server.sql("SHOW TABLES IN chat").unwrap(), "");
    drop(MysqlStore::open(&url, Options::default()).await.unwrap());
    drop(MysqlStore::open(&url, options).await.unwrap());
}
