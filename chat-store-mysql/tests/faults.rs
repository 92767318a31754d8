//! Tests of database faults (held locks, crashes, freezes), of the rows that a page reads, of the
//! record of changed users, of the heartbeats of nodes, and of callers that stop waiting.

#![allow(clippy::unwrap_used)] // these are tests

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::async_trait;
use chat_core::model::{ConversationId, NodeId, Page, PageFrom, Seq, UserId};
use chat_core::store::{AccountStore, CursorStore, MessageStore, Store, StoreError, Transaction, TxError, Unit};
use chat_core::testkit::store::{NewEvent, World, append, new_account, transact};
use chat_store_mysql::{MysqlStore, Options};
use mysql_async::prelude::Queryable;
use support::{server, world};

/// Maximum time of a test step. Only a step that fails takes this long.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Locks a conversation from another client, in an idle transaction that ends with the returned
/// connection.
async fn lock(url: &str, conversation: ConversationId) -> mysql_async::Conn {
    let opts = mysql_async::Opts::from_url(url).unwrap();
    let mut holder = mysql_async::Conn::new(opts).await.unwrap();
    let row = format!("SELECT 1 FROM conversation WHERE id = {} FOR UPDATE", conversation.0);
    holder.query_drop("BEGIN").await.unwrap();
    assert_eq!(holder.query_first(row).await.unwrap(), Some(1));
    holder
}

/// To know the size of a long body, the database reads the body, so a page measures no further
/// events once it is full.
#[tokio::test]
async fn page_reads_few_events_beyond_its_size() {
    let (server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let events = (0..400).map(|n| NewEvent::message(format!("message {n}"))).collect();
    append(&*store, world.group, world.alice, events).await.unwrap();
    // Returns the number of rows that scans of indexes have read.
    let rows_scanned = || -> u64 {
        let status = server
            .sql(
                "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS
                  WHERE VARIABLE_NAME IN ('HANDLER_READ_NEXT', 'HANDLER_READ_PREV')",
            )
            .unwrap();
        status.trim().parse().unwrap()
    };
    for from in [PageFrom::After(Seq::ZERO), PageFrom::Newest] {
        let page = Page {
            from,
            max_events: 400,
            max_bytes: 100,
        };
        let before = rows_scanned();
        let read = store.events_for(world.bob, world.group, page).await.unwrap().unwrap();
        let rows = rows_scanned() - before;
        assert!((1..20).contains(&read.events.len()), "{}", read.events.len());
        assert!(rows < 100, "{rows} rows were scanned");
    }
    store.close().await;
}

#[tokio::test]
async fn changes_of_users_are_recorded() {
    let (_server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let changes = store.changed_users().await.unwrap().expect("the store records changes");
    assert!(changes.iter().any(|change| change.user == world.alice));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_expire_by_the_clock_of_the_database_and_do_not_wait_for_writes() {
    let (server, url) = server(&["--default-time-zone=+05:45"]);
    let open = async || MysqlStore::open(&url, Options::default()).await.unwrap();
    let (here, there) = (open().await, open().await);
    let [a, b, gone, ahead] = [(); 4].map(|()| NodeId::random());
    for node in [gone, ahead, b] {
        there.heartbeat(node).await.unwrap();
    }
    let peers = async || here.heartbeat(a).await.unwrap().peers;
    assert_eq!(peers().await.len(), 3);
    let shift_heartbeat = |node: NodeId, millis: i64| {
        let update = format!(
            "UPDATE chat.node SET heartbeat = heartbeat + {millis} WHERE id = UNHEX(REPLACE('{node}', '-', ''))"
        );
        server.sql(&update).unwrap();
    };
    shift_heartbeat(gone, -10_500);
    // This heartbeat lies in the future, as after the clock of the database was set back.
    shift_heartbeat(ahead, 60_000);
    assert_eq!(peers().await, [b]);
    let rows = || server.sql("SELECT COUNT(*) FROM chat.node").unwrap().trim().to_owned();
    assert_eq!(rows(), "4");
    shift_heartbeat(gone, -3_600_000);
    shift_heartbeat(ahead, 3_600_000);
    assert_eq!(peers().await, [b]);
    assert_eq!(rows(), "2", "heartbeats far in the past or future are deleted");
    let time = here.heartbeat(a).await.unwrap().time.unwrap().0;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = i64::try_from(now.as_millis()).unwrap();
    assert!((now - time).abs() < 2_000, "{time} at {now}");

    // Another transaction's lock blocks every connection for writes. A heartbeat still succeeds.
    let world = World::new(Arc::new(open().await)).await;
    let _holder = lock(&url, world.group).await;
    let here = Arc::new(here);
    for _ in 0..20 {
        let (here, group, alice) = (Arc::clone(&here), world.group, world.alice);
        tokio::spawn(async move { append(&*here, group, alice, vec![NewEvent::message("stuck")]).await });
    }
    let waiting = || server.sql("SHOW STATUS LIKE 'Innodb_row_lock_current_waits'").unwrap();
    let deadline = Instant::now() + STEP_TIMEOUT;
    // The store has 16 connections for writes by default.
    while !waiting().trim().ends_with("\t16") {
        assert!(Instant::now() < deadline, "the requests did not block: {}", waiting());
    }
    let started = Instant::now();
    here.heartbeat(a).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_conversation_does_not_block_other_conversations() {
    let (_server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let holder = lock(&url, world.group).await;
    let stuck: Vec<_> = (0..4)
        .map(|n| {
            let (store, group, alice) = (store.clone(), world.group, world.alice);
            tokio::spawn(
                async move { append(&*store, group, alice, vec![NewEvent::message(format!("stuck {n}"))]).await },
            )
        })
        .collect();
    let started = Instant::now();
    for n in 0..20 {
        append(
            &*store,
            world.direct,
            world.alice,
            vec![NewEvent::message(format!("{n}"))],
        )
        .await
        .unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    for stuck in stuck {
        // By default, a request ends after 5 s.
        let answer = tokio::time::timeout(Duration::from_secs(7), stuck)
            .await
            .expect("the store answers within 7 s")
            .unwrap();
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    drop(holder);
    let deadline = Instant::now() + STEP_TIMEOUT;
    while append(&*store, world.group, world.alice, vec![NewEvent::message("again")])
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "the lock was not released");
    }
}

/// Unit of work that locks a conversation, as every append does first, and then never continues, as
/// on a frozen node.
#[derive(Debug)]
struct Frozen {
    conversation: ConversationId,
    locked: Option<tokio::sync::oneshot::Sender<()>>,
}

#[async_trait]
impl Unit for Frozen {
    async fn run(&mut self, tx: &mut dyn Transaction) -> Result<(), TxError> {
        tx.lock_conversation(self.conversation).await?;
        let _ = self.locked.take().map(|locked| locked.send(()));
        std::future::pending().await
    }
}

/// A node that freezes in the middle of a transaction, before its first write, blocks other nodes
/// for seconds only.
#[test]
fn frozen_node_loses_its_locks() {
    let (_server, url) = server(&[]);
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (running_runtime, frozen_runtime) = (runtime(), runtime());
    let (world, store) = running_runtime.block_on(world(&url));
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    // After this block, no thread drives the runtime, so its connection stays open and idle.
    let frozen_store = frozen_runtime.block_on(async {
        let store = MysqlStore::open(&url, Options::default()).await.unwrap();
        let unit = Frozen {
            conversation: world.group,
            locked: Some(locked),
        };
        tokio::select! {
            _ = store.transact(Box::new(unit)) => panic!("the unit of work ended"),
            locked = is_locked => locked.unwrap(),
        }
        store
    });
    let started = Instant::now();
    running_runtime.block_on(async {
        while append(&*store, world.group, world.alice, vec![NewEvent::message("on")])
            .await
            .is_err()
        {
            assert!(started.elapsed() < STEP_TIMEOUT, "the lock was not released");
        }
    });
    println!("released after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    drop((frozen_store, frozen_runtime));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_recovers_after_a_database_crash_or_freeze() {
    let (mut server, url) = server(&[]);
    let (world, store) = world(&url).await;
    let append_message =
        async |text: String| append(&*store, world.group, world.alice, vec![NewEvent::message(text)]).await;
    let mut acknowledged = 0;
    for round in 0..3 {
        for n in 0..10 {
            append_message(format!("{round} {n}")).await.unwrap();
            acknowledged += 1;
        }
        if round == 1 {
            server.process().signal("STOP").unwrap();
        } else {
            server.kill();
        }
        let started = Instant::now();
        let answer = append_message("lost, or not".to_owned()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(matches!(
            store.account(UserId(1)).await,
            Err(StoreError::Unavailable(_))
        ));
        // Each of the two requests ends within 5 s.
        assert!(started.elapsed() < Duration::from_secs(11), "{:?}", started.elapsed());
        if round == 1 {
            server.process().signal("CONT").unwrap();
        } else {
            server.restart().unwrap();
        }
        let deadline = Instant::now() + STEP_TIMEOUT;
        while append_message("back".to_owned()).await.is_err() {
            assert!(Instant::now() < deadline, "the store did not recover");
        }
        acknowledged += 1;
    }
    let events = store.events(world.group, Seq(1), Seq(1000), 1000).await.unwrap();
    let seqs: Vec<u64> = events.iter().map(|event| event.seq.0).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "the log has no gaps");
    // In each of the three outages, the unacknowledged message may have been stored.
    assert!(
        (acknowledged..=acknowledged + 3).contains(&seqs.len()),
        "{acknowledged} acknowledged, {} stored",
        seqs.len()
    );
}

/// The answers to reads and writes that are dropped at random moments are never delivered to other
/// requests. The environment variable `REQUESTS` sets the number of requests, of which many are
/// cancelled; `scripts/test-slow` makes more of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_requests_never_mix_answers() {
    let requests: u32 = std::env::var("REQUESTS").map_or(4000, |text| text.parse().unwrap());
    const TASKS: u32 = 16;
    let (_server, url) = server(&[]);
    let mut options = Options::default();
    (options.read_connections, options.write_connections) = (4, 4);
    let store = Arc::new(MysqlStore::open(&url, options).await.unwrap());
    let world = Arc::new(World::new(store.clone()).await);
    let mut users = Vec::new();
    for n in 0..50 {
        let name = format!("user-{n}");
        let made = transact(&*store, move |tx| {
            let name = name.clone();
            Box::pin(async move { Ok(tx.create_account(new_account(&name)).await?.unwrap()) })
        });
        users.push(made.await.unwrap());
    }
    let users = Arc::new(users);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, users, world) = (store.clone(), users.clone(), world.clone());
            tokio::spawn(async move {
                let (mut answers, mut cancelled) = (0, 0);
                let mut random = u64::from(task) + 1;
                for _ in 0..requests / TASKS {
                    // xorshift, with a different seed for each task
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let n = (random % 50) as usize;
                    let cancel_after = Duration::from_micros(random >> 20 & 0x3fff);
                    let work = async {
                        match random % 4 {
                            0 => {
                                let account = store.account(users[n]).await.unwrap().unwrap();
                                assert_eq!((account.id, account.name), (users[n], format!("user-{n}")));
                            }
                            1 => {
                                let asked: Vec<UserId> = users[n..].iter().take(5).copied().collect();
                                let mut found: Vec<_> =
                                    store.accounts(&asked).await.unwrap().iter().map(|a| a.id).collect();
                                found.sort_unstable();
                                assert_eq!(found, asked);
                            }
                            2 => {
                                let moves = [(world.bob, world.group, Seq(1))];
                                store.advance_reads(&moves).await.unwrap();
                            }
                            _ => {
                                let found = store.search_accounts(&format!("user-{n}"), 1).await.unwrap();
                                assert_eq!(found[0].id, users[n]);
                            }
                        }
                    };
                    match tokio::time::timeout(cancel_after, work).await {
                        Ok(()) => answers += 1,
                        Err(_) => cancelled += 1,
                    }
                }
                (answers, cancelled)
            })
        })
        .collect();
    let (mut answers, mut cancelled) = (0, 0);
    for task in tasks {
        let (a, c) = task.await.expect("no answer was mixed up");
        answers += a;
        cancelled += c;
    }
    println!("{answers} answers, {cancelled} cancelled, 0 mixed up");
    assert!(
        answers > 50 && cancelled > 50,
        "{answers} answers, {cancelled} cancelled"
    );
}
