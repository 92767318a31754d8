//! Tests of building, draining and stopping an engine.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::support::*;
use crate::cluster::{Discovery, MemoryDiscovery, NodeInfo};
use crate::commands::Commands;
use crate::engine::{BuildError, Engine, LocalSession};
use crate::model::*;
use crate::router::SessionSelector;
use crate::store::{MemoryStore, Store};
use crate::testkit::store::FaultyStore;

fn send(session: &LocalSession, content: &str) -> Command {
    Command::Send {
        conversation: direct(session),
        draft: draft(content),
    }
}

/// Returns a node that joins discovery to see the other nodes.
fn observer() -> NodeInfo {
    NodeInfo {
        id: NodeId::random(),
        incarnation: 1,
        addresses: Vec::new(),
        sessions: 0,
        accepts_no_sessions: false,
    }
}

#[tokio::test]
async fn builder_reports_an_invalid_configuration_field_or_a_closed_store() {
    let mut bad = config();
    bad.max_queued_drafts_per_conversation = 1;
    let error = builder().config(bad).build().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the configuration's `max_queued_drafts_per_conversation` must be at least max_batch_drafts"
    );
    let store = Arc::new(MemoryStore::new());
    store.close().await;
    assert!(matches!(
        Engine::builder(store).build().await,
        Err(BuildError::Store(_))
    ));
}

#[test]
fn builder_requires_a_runtime() {
    let building = builder().build();
    let built = futures_util::FutureExt::now_or_never(building);
    assert!(matches!(built, Some(Err(BuildError::NoRuntime))));
}

#[tokio::test]
async fn shutdown_answers_running_commands_and_refuses_new_ones() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let started: Vec<_> = (0..200).map(|n| alice.execute(send(&alice, &n.to_string()))).collect();
    let (answers, ()) = tokio::join!(futures_util::future::join_all(started), engine.shutdown());
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(
        error_code(alice.execute(send(&alice, "late")).await),
        ReplyCode::ShuttingDown
    );
    assert_eq!(
        error_code(alice.execute(list_contacts()).await),
        ReplyCode::ShuttingDown
    );
    assert_eq!(
        error_code(engine.register(Source::Local, registration("bob")).await),
        ReplyCode::ShuttingDown
    );
    while alice.next_push().await.is_some() {}
    engine.shutdown().await;
}

#[tokio::test]
async fn shutdown_refuses_commands_while_it_waits_for_earlier_ones() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let held = store.hold();
    let started = alice.execute(send(&alice, "started"));
    let late = async {
        let late = alice.execute(send(&alice, "late")).await;
        drop(held);
        late
    };
    let (started, (), late) = tokio::join!(started, engine.shutdown(), late);
    assert!(started.is_ok());
    assert_eq!(error_code(late), ReplyCode::ShuttingDown);
}

/// No task survives the engine, whether it is shut down or dropped.
#[tokio::test]
async fn engine_leaves_no_task_after_shutdown_or_drop() {
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for shut_down in [true, false] {
        let engine = engine().await;
        let alice = new_user(&engine, "alice").await;
        alice.send_text(direct(&alice), "x").await.unwrap();
        assert!(tokio::runtime::Handle::current().metrics().num_alive_tasks() > before);
        if shut_down {
            engine.shutdown().await;
        }
        drop(alice);
        drop(engine);
        let ended = async {
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(2), ended)
            .await
            .expect("tasks outlived the engine");
    }
}

#[tokio::test]
async fn engines_in_one_process_are_independent() {
    let (one, other) = (engine().await, engine().await);
    let (alice, same_name) = (new_user(&one, "alice").await, new_user(&other, "alice").await);
    alice.send_text(direct(&alice), "mine").await.unwrap();
    one.shutdown().await;
    same_name.send_text(direct(&same_name), "still works").await.unwrap();
    assert_eq!(texts(&history(&same_name, direct(&same_name)).await), ["still works"]);
}

#[tokio::test]
async fn node_is_advertised_and_withdrawn() {
    let discovery = Arc::new(MemoryDiscovery::new());
    let mut nodes = discovery.join(observer()).await.unwrap();
    let engine = builder().discovery(discovery.clone()).build().await.unwrap();
    assert_eq!(engine.nodes().len(), 2);
    engine.advertise(vec!["sc1://127.0.0.1:7400".to_owned()]);
    nodes
        .wait_for(|nodes| nodes.iter().any(|node| !node.addresses.is_empty()))
        .await
        .unwrap();
    engine.shutdown().await;
    assert_eq!(nodes.borrow_and_update().len(), 1);
}

/// A node whose store fails or does not answer is advertised as accepting no sessions, so that
/// clients choose other nodes, until the store answers again.
#[tokio::test(start_paused = true)]
async fn node_without_its_store_is_advertised_as_accepting_no_sessions() {
    let discovery = Arc::new(MemoryDiscovery::new());
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let engine = Engine::builder(store.clone())
        .config(config())
        .discovery(discovery.clone())
        .build()
        .await
        .unwrap();
    let mut nodes = discovery.join(observer()).await.unwrap();
    for unavailable in [true, false] {
        let started = tokio::time::Instant::now();
        store.set_unavailable(unavailable);
        let announced = nodes.wait_for(|nodes| nodes.iter().any(|node| node.accepts_no_sessions) == unavailable);
        drop(
            tokio::time::timeout(Duration::from_secs(60), announced)
                .await
                .unwrap()
                .unwrap(),
        );
        // The engine probes the store every two seconds, and more often during an outage.
        assert!(started.elapsed() <= Duration::from_secs(5), "{:?}", started.elapsed());
    }
    let held = store.hold();
    let announced = nodes.wait_for(|nodes| nodes.iter().any(|node| node.accepts_no_sessions));
    drop(
        tokio::time::timeout(Duration::from_secs(60), announced)
            .await
            .unwrap()
            .unwrap(),
    );
    drop(held);
    engine.shutdown().await;
}

/// Every command is answered, even if it is submitted while the engine stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stopping_engine_answers_every_command() {
    for shut_down in [true, false] {
        for _ in 0..20 {
            let engine = engine().await;
            let alice = register(&engine, "alice").await;
            let caller = engine
                .login(Source::Local, login(alice, DeviceId::random()))
                .await
                .unwrap()
                .caller;
            let commands = Arc::clone(&engine.parts.commands);
            let asking = tokio::spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let command = Command::Send {
                        conversation: ConversationRef::Direct(UserRef::Id(alice)),
                        draft: draft("x"),
                    };
                    answers.push(commands.execute(caller, command));
                    if commands.lifecycle.stopping().is_cancelled() {
                        return futures_util::future::join_all(answers).await;
                    }
                    tokio::task::yield_now().await;
                }
            });
            if shut_down {
                engine.shutdown().await;
            }
            drop(engine);
            let answers = tokio::time::timeout(Duration::from_secs(10), asking)
                .await
                .expect("a command was never answered");
            assert!(!answers.unwrap().is_empty());
        }
    }
}

/// Another thread closes the session while this one asks for pushes.
#[tokio::test]
async fn session_returns_its_close_code_whenever_it_is_closed() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    for _ in 0..200 {
        let session = engine.session(alice, DeviceId([1; 16])).await.unwrap();
        let runtime = tokio::runtime::Handle::current();
        let last = std::thread::scope(|scope| {
            scope.spawn(|| {
                let _context = runtime.enter();
                let router = engine.router();
                router.close_sessions(alice, SessionSelector::All, CloseCode::Revoked);
            });
            loop {
                match session.next_push().now_or_never() {
                    Some(Some(Push::Closed(code))) => return Some(code),
                    Some(None) => return None,
                    Some(Some(_)) | None => {}
                }
            }
        });
        assert_eq!(last, Some(CloseCode::Revoked));
        assert_eq!(session.next_push().await, None);
    }
}
