//! Tests of an application that, without a session of its own, acts for a user.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::support::*;
use crate::cluster::{ClusterError, MemoryPresence, Presence};
use crate::commands::Commands;
use crate::engine::operator::OperatorName;
use crate::engine::{ActingAs, Engine, LocalSession};
use crate::model::*;
use crate::rate::Rate;
use crate::store::{MemoryStore, Store};
use crate::testkit::store::transact;

/// Disables an account in the store, without a call of the engine.
async fn disable(store: &dyn Store, user: UserId) {
    let disable = transact(store, move |tx| {
        Box::pin(async move {
            let mut account = tx.account(user).await?.unwrap();
            account.disabled = true;
            tx.update_account(&account).await?;
            Ok(())
        })
    });
    disable.await.unwrap();
}

async fn devices(session: &LocalSession) -> Vec<DeviceInfo> {
    session.devices().await.unwrap()
}

/// Presence that counts the calls by which nodes change it.
#[derive(Debug, Default)]
struct CountingPresence {
    inner: MemoryPresence,
    changes: AtomicUsize,
}

#[async_trait]
impl Presence for CountingPresence {
    async fn set(
        &self,
        node: NodeId,
        user: UserId,
        device: DeviceId,
        state: PresenceState,
    ) -> Result<(), ClusterError> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.inner.set(node, user, device, state).await
    }

    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.inner.clear(node, user, device).await
    }

    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError> {
        self.inner.devices(users).await
    }
}

/// Sends `count` numbered messages for a user, whose sessions it does not use, up to 128 of them at
/// the same time. Returns the sequence number of the first one.
async fn send_numbers(acting: &ActingAs, group: ConversationId, count: usize) -> Seq {
    let mut sends = Vec::with_capacity(128);
    let mut seqs = Vec::with_capacity(count);
    for number in 0..count {
        sends.push(acting.send(group, draft(&number.to_string())));
        if sends.len() == 128 || number + 1 == count {
            for send in sends.drain(..) {
                seqs.push(send.await.unwrap().seq);
            }
        }
    }
    assert!(
        seqs.windows(2).all(|pair| pair[1] == pair[0].next()),
        "events are not in the order of the calls"
    );
    seqs[0]
}

/// The sends leave an idle user idle and an offline user offline, and the user's friend receives no
/// push about the presence of the user.
#[tokio::test]
async fn sends_without_a_session_leave_devices_sessions_and_presence_unchanged() {
    const MESSAGES: usize = 10_000;
    for is_connected in [true, false] {
        let presence = Arc::new(CountingPresence::default());
        let engine = builder().presence(presence.clone()).build().await.unwrap();
        let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
        befriend(&alice, &bob).await;
        let group = create_group(&alice, "crowd").await;
        join(&bob, group).await;
        let user = id(&alice);
        alice.set_presence(PresenceState::Idle).await.unwrap();
        wait_for_presence(&bob, PresenceState::Idle).await;
        let alice = is_connected.then_some(alice);
        if !is_connected {
            wait_for_presence(&bob, PresenceState::Offline).await;
        }
        let acting = engine.acting_as(user);
        let state = async || {
            let devices = acting.devices().await.unwrap();
            let reported = presence.devices(&[user]).await.unwrap();
            let changes = presence.changes.load(Ordering::SeqCst);
            let sessions = engine.router().local_sessions(user);
            (devices, reported, changes, sessions, engine.stats().router.sessions)
        };
        let before = state().await;
        let first = send_numbers(&acting, group, MESSAGES).await;
        let mut from = Seq(first.0 - 1);
        let mut expected = 0;
        while expected < MESSAGES {
            let page = Page {
                from: PageFrom::After(from),
                ..everything()
            };
            let page = bob.history(group, page).await.unwrap();
            for event in &page.events {
                assert_eq!((event.event.sender, event.event.device), (user, None));
                assert_eq!(message(&event.event), Some(expected.to_string()));
                expected += 1;
            }
            from = page.events.last().unwrap().event.seq;
        }
        assert_eq!(state().await, before);
        while let Some(push) = bob.try_next_push() {
            assert!(!matches!(push, Push::Presence { .. }), "{push:?}");
        }
        if let Some(alice) = alice {
            assert!(alice.try_next_push().is_some(), "the session still receives pushes");
        }
    }
}

/// Waits for a push to this session that a friend has this presence.
async fn wait_for_presence(session: &LocalSession, wanted: PresenceState) {
    wait_for_push(session, |push| match push {
        Push::Presence { state, .. } if *state == wanted => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn resent_message_is_stored_once() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let acting = engine.acting_as(alice);
    let draft = draft("once");
    let first = acting
        .send(ConversationRef::direct(alice), draft.clone())
        .await
        .unwrap();
    let again = acting
        .clone()
        .send(ConversationRef::direct(alice), draft)
        .await
        .unwrap();
    assert_eq!((again.seq, again.duplicate), (first.seq, true));
    assert_eq!((first.duplicate, acting.user()), (false, alice));
}

#[tokio::test]
async fn acting_caller_has_the_rights_of_the_user() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "crowd").await;
    let acting = engine.acting_as(id(&bob));
    assert_eq!(
        error_code(acting.send(group, draft("from outside")).await),
        ReplyCode::NotFound
    );
    assert_eq!(
        error_code(acting.history(group, everything()).await),
        ReplyCode::NotFound
    );
    acting.join_group(group, Note::default()).await.unwrap();
    acting.send(group, draft("from inside")).await.unwrap();
    assert_eq!(error_code(acting.delete_group(group).await), ReplyCode::Forbidden);
    let listed = acting.conversations().await.unwrap();
    assert!(listed.iter().any(|info| info.id == group && info.role == Role::Member));
}

#[tokio::test]
async fn read_mark_of_an_acting_caller_reaches_the_session_of_the_user() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = create_group(&alice, "crowd").await;
    join(&bob, group).await;
    let sent = alice.send(group, draft("read me")).await.unwrap();
    let acting = engine.acting_as(id(&bob));
    assert_eq!(acting.conversation(group).await.unwrap().unread, 1);
    acting.mark_read(group, sent.seq).await.unwrap();
    let unread = wait_for_push(&bob, |push| match push {
        Push::Read {
            conversation, unread, ..
        } if *conversation == group => Some(*unread),
        _ => None,
    });
    assert_eq!(unread.await, 0);
    assert_eq!(acting.conversation(group).await.unwrap().unread, 0);
}

#[tokio::test]
async fn acting_caller_cannot_run_commands_of_a_device() {
    let engine = engine().await;
    let alice = new_user(&engine, "alice").await;
    let group = create_group(&alice, "crowd").await;
    let acting = engine.acting_as(id(&alice));
    for command in [
        Command::Logout,
        Command::ChangePassword {
            old: Secret::new(PASSWORD),
            new: Secret::new("another horse"),
        },
        Command::RevokeDevice(alice.caller().device().unwrap()),
        Command::SetPresence(PresenceState::Online),
        Command::Acknowledge {
            conversation: group,
            seq: Seq(1),
        },
        Command::Typing {
            conversation: group,
            stopped: false,
        },
    ] {
        let refused = acting.execute(command.clone()).await.unwrap_err();
        assert_eq!(refused.code, ReplyCode::InvalidArgument, "{command:?}");
        assert!(refused.text.contains("session of a device"), "{}", refused.text);
    }
    assert_eq!(devices(&alice).await.len(), 1);
}

#[tokio::test]
async fn unknown_and_disabled_users_are_refused() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let engine = Engine::builder(Arc::clone(&store))
        .config(config())
        .build()
        .await
        .unwrap();
    let alice = register(&engine, "alice").await;
    let unknown = engine.acting_as(UserId(4711));
    let disabled = engine.acting_as(alice);
    disabled.conversations().await.unwrap();
    disable(&*store, alice).await;
    for acting in [unknown, disabled] {
        let own = ConversationRef::direct(acting.user());
        let answers = [
            acting.conversations().await.map(drop),
            acting.send(own, draft("hello")).await.map(drop),
            acting.mark_read(ConversationId(1), Seq(1)).await,
            acting.execute(create_group_command("crowd")).await.map(drop),
        ];
        for answer in answers {
            assert_eq!(error_code(answer), ReplyCode::AccountDisabled);
        }
    }
}

/// If the retry were answered, the answer would show the disabled user the group as it is now.
#[tokio::test]
async fn retried_group_creation_of_a_disabled_user_is_refused() {
    let engine = engine().await;
    let bob = register(&engine, "bob").await;
    let acting = engine.acting_as(bob);
    let new = NewGroup::new(GroupName::parse("rust").unwrap());
    let created = acting.create_group(new.clone()).await.unwrap();
    assert_eq!(acting.create_group(new.clone()).await.unwrap().id, created.id);
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    operator.disable(bob).await.unwrap();
    let refused = acting.create_group(new).await;
    assert_eq!(error_code(refused), ReplyCode::AccountDisabled);
}

#[tokio::test]
async fn caller_without_a_device_cannot_attach_a_session() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let outbox = crate::router::Outbox::new(crate::router::OutboxLimits::default());
    let attached = engine.attach(Caller::application(alice), Source::Local, outbox).await;
    assert_eq!(error_code(attached), ReplyCode::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn sends_without_a_session_wait_for_the_message_rate() {
    let mut config = config();
    config.message_rate_per_user = Rate::new(2, Duration::from_secs(1));
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let started = tokio::time::Instant::now();
    // The rate allows two messages at once, and each further one after half a second.
    for _ in 0..4 {
        let acting = engine.acting_as(alice);
        acting
            .send(ConversationRef::direct(alice), draft("again"))
            .await
            .unwrap();
    }
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
}
