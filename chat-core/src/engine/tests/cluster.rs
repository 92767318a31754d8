//! Tests of two nodes of a cluster: two engines on one store, one bus and one presence service.

use std::sync::Arc;

use super::support::*;
use crate::bus::MemoryBus;
use crate::cluster::MemoryPresence;
use crate::commands::Commands;
use crate::engine::Engine;
use crate::model::*;
use crate::store::{MemoryStore, Store};

async fn cluster() -> (Engine, Engine) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bus = Arc::new(MemoryBus::new());
    let presence = Arc::new(MemoryPresence::new());
    let node = async || {
        let builder = Engine::builder(store.clone()).config(config());
        builder
            .bus(bus.clone())
            .presence(presence.clone())
            .build()
            .await
            .unwrap()
    };
    (node().await, node().await)
}

#[tokio::test]
async fn events_cross_nodes_in_order() {
    let (one, other) = cluster().await;
    let alice = new_user(&one, "alice").await;
    let bob = register(&one, "bob").await;
    let bob = other.session(bob, DeviceId::random()).await.unwrap();
    befriend(&alice, &bob).await;
    for n in 0..50 {
        let (from, to) = if n % 2 == 0 { (&alice, &bob) } else { (&bob, &alice) };
        from.send_text(direct(to), &n.to_string()).await.unwrap();
    }
    for session in [&alice, &bob] {
        for n in 0..50 {
            let event = wait_for_event(session, EventKind::Message).await;
            assert_eq!((event.seq, message(&event).unwrap()), (Seq(n + 1), n.to_string()));
        }
    }
    one.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn conversation_written_on_two_nodes_has_one_order() {
    let (one, other) = cluster().await;
    let phone = new_user(&one, "alice").await;
    let laptop = other.session(id(&phone), DeviceId::random()).await.unwrap();
    phone.send_text(direct(&phone), "opens it").await.unwrap();
    for session in [&phone, &laptop] {
        wait_for_event(session, EventKind::Message).await;
    }
    let sends = (0..100).map(|n| {
        let session = if n % 2 == 0 { &phone } else { &laptop };
        async move { session.send_text(direct(session), &n.to_string()).await.unwrap().seq.0 }
    });
    let mut seqs = futures_util::future::join_all(sends).await;
    seqs.sort_unstable();
    assert_eq!(seqs, (2..=101).collect::<Vec<_>>());
    for session in [&phone, &laptop] {
        for n in 2..=101 {
            assert_eq!(wait_for_event(session, EventKind::Message).await.seq, Seq(n));
        }
    }
}

#[tokio::test]
async fn login_on_another_node_ends_the_older_session() {
    let (one, other) = cluster().await;
    let older = new_user(&one, "alice").await;
    let newer = other
        .session(id(&older), older.caller().device().unwrap())
        .await
        .unwrap();
    assert_eq!(
        error_code(older.send_text(direct(&older), "x").await),
        ReplyCode::Fenced
    );
    let code = wait_for_push(&older, |push| match push {
        Push::Closed(code) => Some(*code),
        _ => None,
    });
    assert_eq!(code.await, CloseCode::Replaced);
    newer.send_text(direct(&newer), "x").await.unwrap();
}

#[tokio::test]
async fn group_members_on_two_nodes_exchange_events() {
    let (one, other) = cluster().await;
    let olga = new_user(&one, "olga").await;
    let bob = register(&one, "bob").await;
    let bob = other.session(bob, DeviceId::random()).await.unwrap();
    let group = create_group(&olga, "crowd").await;
    join(&bob, group).await;
    wait_for_event(&olga, EventKind::MemberJoined).await;
    olga.send_text(ConversationRef::Id(group), "welcome").await.unwrap();
    assert_eq!(
        message(&wait_for_event(&bob, EventKind::Message).await).unwrap(),
        "welcome"
    );
    let typing = Command::Typing {
        conversation: group,
        stopped: false,
    };
    bob.execute(typing).await.unwrap();
    wait_for_push(&olga, |push| matches!(push, Push::Typing { .. }).then_some(())).await;
    let kick = Command::KickMember {
        group: ConversationRef::Id(group),
        user: user(&bob),
        ban: false,
    };
    olga.execute(kick).await.unwrap();
    wait_for_event(&bob, EventKind::MemberKicked).await;
    olga.send_text(ConversationRef::Id(group), "he is gone").await.unwrap();
    wait_for_event(&olga, EventKind::Message).await;
    assert_eq!(
        error_code(bob.send_text(ConversationRef::Id(group), "x").await),
        ReplyCode::Forbidden
    );
}

#[tokio::test]
async fn presence_crosses_nodes() {
    let (one, other) = cluster().await;
    let alice = new_user(&one, "alice").await;
    let bob = new_user(&one, "bob").await;
    befriend(&alice, &bob).await;
    let user = id(&bob);
    drop(bob);
    let bob_is = |wanted| {
        wait_for_push(&alice, move |push| match push {
            Push::Presence { state, .. } if *state == wanted => Some(()),
            _ => None,
        })
    };
    bob_is(PresenceState::Offline).await;
    let bob = other.session(user, DeviceId::random()).await.unwrap();
    bob_is(PresenceState::Online).await;
    // The session that made bob online is not fenced, so its commands are executed.
    assert!(other.execute(bob.caller(), Command::ListDevices).await.is_ok());
}
