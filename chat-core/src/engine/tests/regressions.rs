//! Regression tests of the engine for known weaknesses of older chat systems, as listed in
//! docs/reliability.md.

use std::sync::Arc;

use super::support::*;
use crate::commands::Commands;
use crate::engine::Engine;
use crate::model::*;
use crate::store::{MemoryStore, Store};
use crate::testkit::store::FaultyStore;

#[tokio::test]
async fn caller_cannot_act_for_another_user() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "crowd").await;
    // The store has no login for this forged caller.
    let forged = Caller {
        user: id(&alice),
        ..bob.caller()
    };
    for command in [
        Command::Logout,
        Command::DeleteGroup(ConversationRef::Id(group)),
        Command::RequestFriend {
            user: user(&bob),
            note: Note::default(),
        },
        Command::Send {
            conversation: direct(&alice),
            draft: draft("in her name"),
        },
    ] {
        assert_eq!(error_code(engine.execute(forged, command).await), ReplyCode::Fenced);
    }
    let sent = alice.send_text(ConversationRef::Id(group), "x").await.unwrap();
    let page = history(&alice, ConversationRef::Id(group)).await;
    assert_eq!(
        page.events.last().map(|event| (event.event.seq, event.event.sender)),
        Some((sent.seq, id(&alice)))
    );
    let theirs = Command::RevokeDevice(alice.caller().device().unwrap());
    assert_eq!(error_code(bob.execute(theirs).await), ReplyCode::NotFound);
}

#[tokio::test]
async fn failing_store_is_never_reported_as_success() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let mut config = config();
    config.request_timeout = std::time::Duration::from_millis(100);
    let engine = Engine::builder(store.clone()).config(config).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    store.set_unavailable(true);
    for command in [
        Command::ListConversations(ConversationQuery::default()),
        create_group_command("crowd"),
        list_contacts(),
        Command::Logout,
        Command::Send {
            conversation: direct(&alice),
            draft: draft("x"),
        },
    ] {
        assert_eq!(error_code(alice.execute(command).await), ReplyCode::TryAgain);
    }
    let refused = engine.login(Source::Local, login(id(&alice), DeviceId::random())).await;
    assert_eq!(error_code(refused), ReplyCode::TryAgain);
    assert_eq!(
        error_code(engine.register(Source::Local, registration("bob")).await),
        ReplyCode::TryAgain
    );
}

#[tokio::test]
async fn passwords_are_hashed_and_never_shown() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let engine = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    let registration_of_alice = registration("alice");
    assert!(!format!("{registration_of_alice:?}").contains(PASSWORD));
    let alice = engine.register(Source::Local, registration_of_alice).await.unwrap();
    let account = store.account(alice.id).await.unwrap().unwrap();
    let password_hash = account.password_hash.clone().unwrap();
    assert!(password_hash.starts_with("$argon2id$"));
    assert!(!format!("{account:?}").contains(&password_hash));
    let attempt = login(alice.id, DeviceId::random());
    assert!(!format!("{attempt:?}").contains(PASSWORD));
    let grant = engine.login(Source::Local, attempt).await.unwrap();
    let shown = format!("{grant:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains(&password_hash));
    assert!(!format!("{store:?}").contains(&format!("{:?}", grant.session_token.unwrap().expose())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_logins_have_one_winner() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let logins = (0..1000).map(|_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.session(alice, device).await })
    });
    let mut sessions = Vec::new();
    for login in logins.collect::<Vec<_>>() {
        sessions.extend(login.await.unwrap());
    }
    let newest = sessions
        .iter()
        .map(|session| session.caller().epoch().unwrap())
        .max()
        .unwrap();
    let mut winners = 0;
    for session in &sessions {
        let sent = session.send_text(direct(session), "mine").await;
        if sent.is_ok() {
            winners += 1;
            assert_eq!(session.caller().epoch().unwrap(), newest);
        }
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn late_session_end_does_not_mark_the_user_offline() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let newer = engine.session(id(&bob), bob.caller().device().unwrap()).await.unwrap();
    drop(bob);
    newer.send_text(direct(&alice), "still here").await.unwrap();
    wait_for_event(&alice, EventKind::Message).await;
    let Ok(Outcome::Contacts(page)) = alice.execute(list_contacts()).await else {
        panic!("no contacts");
    };
    assert_eq!(page.contacts[0].presence, Some(PresenceState::Online));
    engine.shutdown().await;
    while let Some(push) = alice.try_next_push() {
        assert!(!matches!(
            push,
            Push::Presence {
                state: PresenceState::Offline,
                ..
            }
        ));
    }
}

#[tokio::test]
async fn ended_session_leaves_the_router_empty() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    create_group(&alice, "crowd").await;
    assert_eq!(engine.stats().router.sessions, 1);
    drop(alice);
    let stats = engine.stats();
    assert_eq!((stats.router.sessions, stats.router.conversations), (0, 0));
}

#[tokio::test]
async fn messages_to_an_offline_user_are_delivered_later_in_order_and_once() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let (user, device) = (id(&bob), bob.caller().device().unwrap());
    let to_bob = direct(&bob);
    drop(bob);
    let once = draft("0");
    for _ in 0..3 {
        alice.send(to_bob.clone(), once.clone()).await.unwrap();
    }
    for n in 1..20 {
        alice.send_text(to_bob.clone(), &n.to_string()).await.unwrap();
    }
    for device in [device, DeviceId::random()] {
        let bob = engine.session(user, device).await.unwrap();
        let conversations = bob.conversations().await.unwrap();
        let shown = conversations
            .iter()
            .find(|info| matches!(info.view, ConversationView::Direct(_)));
        let shown = shown.unwrap();
        assert_eq!((shown.cursor, shown.last_seq, shown.unread), (Seq(0), Seq(20), 20));
        let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(texts(&history(&bob, ConversationRef::Id(shown.id)).await), expected);
    }
}

#[tokio::test]
async fn group_message_is_stored_once_and_reaches_others_if_one_member_never_reads() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let engine = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    let olga = new_user(&engine, "olga").await;
    let group = create_group(&olga, "crowd").await;
    let mut people = Vec::new();
    for n in 0..20 {
        let one = new_user(&engine, &format!("user{n}")).await;
        join(&one, group).await;
        people.push(one);
    }
    // One member never reads, and one has logged out.
    let silent = people.pop().unwrap();
    let gone = people.pop().unwrap();
    gone.execute(Command::Logout).await.unwrap();
    for n in 0..100 {
        olga.send_text(ConversationRef::Id(group), &n.to_string())
            .await
            .unwrap();
    }
    for one in &people {
        for n in 0..100 {
            assert_eq!(
                message(&wait_for_event(one, EventKind::Message).await).unwrap(),
                n.to_string()
            );
        }
    }
    let events = store.events(group, Seq(1), Seq(u64::MAX), 1000).await.unwrap();
    assert_eq!(
        events.iter().filter(|event| event.kind == EventKind::Message).count(),
        100
    );
    drop(silent);
}

/// A send does not depend on the nodes of the recipients: a message to a user whose node has
/// stopped is stored.
#[tokio::test]
async fn departed_recipient_loses_nothing() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bus = Arc::new(crate::bus::MemoryBus::new());
    let node = async || {
        let builder = Engine::builder(store.clone()).config(config());
        builder.bus(bus.clone()).build().await.unwrap()
    };
    let (one, other) = (node().await, node().await);
    let alice = new_user(&one, "alice").await;
    let bob = register(&one, "bob").await;
    let bob_on_other = other.session(bob, DeviceId::random()).await.unwrap();
    befriend(&alice, &bob_on_other).await;
    let to_bob = direct(&bob_on_other);
    drop(bob_on_other);
    drop(other);
    alice.send_text(to_bob, "are you there?").await.unwrap();
    let bob_on_one = one.session(bob, DeviceId::random()).await.unwrap();
    assert_eq!(texts(&history(&bob_on_one, direct(&alice)).await), ["are you there?"]);
}

#[tokio::test]
async fn identical_texts_are_distinct_messages() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    for _ in 0..3 {
        assert!(!alice.send_text(direct(&bob), "ok").await.unwrap().duplicate);
    }
    assert_eq!(texts(&history(&bob, direct(&alice)).await), ["ok", "ok", "ok"]);
    for seq in 1..=3 {
        assert_eq!(wait_for_event(&bob, EventKind::Message).await.seq, Seq(seq));
    }
}
