//! Tests that a panic in the store, in the presence service or in the waker of a caller or
//! recipient affects only the commands involved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::pipelining::{INTERNAL, TRY_AGAIN, codes, drafts, send};
use super::support::*;
use crate::cluster::{ClusterError, MemoryPresence, Presence};
use crate::commands::Commands;
use crate::engine::{Engine, FeedOptions};
use crate::hooks::{AppendContext, Hooks, Verdict};
use crate::model::*;

#[tokio::test]
async fn draft_does_not_overtake_one_on_which_the_store_panicked() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let bob = new_user(&engine, "bob").await;
    let group_id = create_group(&alice, "room").await;
    join(&bob, group_id).await;
    let group = ConversationRef::Id(group_id);
    let drafts = drafts(1..=4);
    store.fail_panicking();
    let held = store.hold();
    let mut answers = send(&alice, &group, &drafts[..1]);
    tokio::task::yield_now().await;
    answers.extend(send(&alice, &group, &drafts[1..3]));
    let others = send(&bob, &group, &[draft("bob's")]);
    tokio::task::yield_now().await;
    drop(held);
    assert_eq!(codes(answers).await, [INTERNAL, TRY_AGAIN, TRY_AGAIN]);
    assert_eq!(codes(others).await, [0], "other sessions are not affected");
    assert_eq!(codes(send(&alice, &group, &drafts[3..])).await, [TRY_AGAIN]);
    assert_eq!(codes(send(&alice, &group, &drafts)).await, [0; 4]);
    assert_eq!(texts(&history(&alice, group).await), ["bob's", "1", "2", "3", "4"]);
}

/// Presence service whose first call of `devices` panics. The flag is set by that call.
#[derive(Debug)]
struct PanickingPresence(MemoryPresence, AtomicBool);

#[async_trait::async_trait]
impl Presence for PanickingPresence {
    async fn set(
        &self,
        node: NodeId,
        user: UserId,
        device: DeviceId,
        state: PresenceState,
    ) -> Result<(), ClusterError> {
        self.0.set(node, user, device, state).await
    }

    async fn clear(&self, node: NodeId, user: UserId, device: DeviceId) -> Result<(), ClusterError> {
        self.0.clear(node, user, device).await
    }

    async fn devices(&self, users: &[UserId]) -> Result<Vec<(UserId, DeviceId, NodeId, PresenceState)>, ClusterError> {
        assert!(
            self.1.swap(true, Ordering::Relaxed),
            "injected panic of the presence service"
        );
        self.0.devices(users).await
    }
}

#[tokio::test]
async fn friends_learn_of_presence_after_the_presence_service_panicked() {
    let presence = Arc::new(PanickingPresence(MemoryPresence::new(), AtomicBool::new(false)));
    let engine = builder().presence(presence.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    while !presence.1.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    let bob = new_user(&engine, "bob").await;
    befriend(&alice, &bob).await;
    bob.set_presence(PresenceState::Idle).await.unwrap();
    let user = bob.caller().user;
    let received = async {
        loop {
            let push = alice.next_push().await.expect("the session has ended");
            if matches!(push, Push::Presence { user: of, state: PresenceState::Idle } if of == user) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), received).await.unwrap();
}

#[tokio::test]
async fn feed_continues_after_a_panic_of_the_store() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let feed = engine
        .feed(FeedOptions::all_conversations("index").from_now())
        .await
        .unwrap();
    let sent = alice.send_text(direct(&alice), "first").await.unwrap();
    let item = feed.next().await.expect("the feed has ended");
    assert_eq!(item.event().seq, sent.seq);
    // Recording the acknowledgement is the next commit.
    store.fail_panicking();
    item.acknowledge().await.unwrap();
    let sent = alice.send_text(direct(&alice), "second").await.unwrap();
    let item = feed.next().await.expect("the feed has ended");
    assert_eq!(item.event().seq, sent.seq);
}

/// Waker that panics.
struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("injected panic of a waker");
    }
}

#[tokio::test]
async fn caller_whose_waker_panics_does_not_affect_others() {
    let engine = builder().build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let mut bad = Box::pin(alice.send_text(direct(&alice), "bad"));
    let waker = Waker::from(Arc::new(PanickingWaker));
    let mut cx = Context::from_waker(&waker);
    assert!(bad.as_mut().poll(&mut cx).is_pending());
    let good = alice.send_text(direct(&alice), "good");
    assert_eq!(good.await.unwrap().seq, Seq(2), "a draft of the same batch is answered");
    assert_eq!(alice.send_text(direct(&alice), "next").await.unwrap().seq, Seq(3));
    assert_eq!(bad.await.unwrap().seq, Seq(1), "the caller still gets its answer");
}

/// Hooks that refuse some drafts, and let others wait until the test releases them.
#[derive(Debug)]
struct RefuseOrWait(Semaphore);

#[async_trait::async_trait]
impl Hooks for RefuseOrWait {
    async fn before_append(&self, _: &AppendContext, draft: Draft) -> Verdict<Draft> {
        match draft.written_text().map(MessageText::as_str) {
            Some("refuse") => return Verdict::refuse("not here"),
            Some("wait") => self.0.acquire().await.unwrap().forget(),
            _ => {}
        }
        Verdict::Allow(draft)
    }
}

/// A refused draft that is found among the stored events is published. A panic of a recipient's
/// waker does not affect the drafts of other senders. Time is paused, so that no sweep of the
/// router delivers the event earlier.
#[tokio::test(start_paused = true)]
async fn panic_while_a_found_draft_is_published_does_not_affect_others() {
    let (_first_engine, store, _) = engine_on_faulty_store(config()).await;
    let hooks = Arc::new(RefuseOrWait(Semaphore::new(0)));
    let engine = Engine::builder(store.clone()).config(config()).hooks(hooks.clone());
    let engine = engine.build().await.unwrap();
    let (bob, carol) = (new_user(&engine, "bob").await, new_user(&engine, "carol").await);
    bob.send_text(direct(&bob), "first").await.unwrap();
    // A node without hooks and without a bus stores a message, and does not announce it.
    let stored = draft("refuse");
    let send = |draft: Draft| Command::Send {
        conversation: direct(&bob),
        draft,
    };
    let without_hooks = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    without_hooks.execute(bob.caller(), send(stored.clone())).await.unwrap();

    let waiting = tokio::spawn(carol.execute(Command::Send {
        conversation: direct(&carol),
        draft: draft("wait"),
    }));
    tokio::task::yield_now().await;
    while bob.try_next_push().is_some() {}
    let mut receiving = Box::pin(bob.next_push());
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(receiving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let panicked = bob.execute(send(stored.clone())).await;
    assert_eq!(error_code(panicked), ReplyCode::Internal);
    hooks.0.add_permits(1);
    waiting.await.unwrap().expect("the panic affects another sender");
    assert_eq!(carol.send_text(direct(&carol), "next").await.unwrap().seq, Seq(2));
    let again = bob.execute(send(stored)).await;
    assert!(
        matches!(again, Ok(Outcome::Appended(Appended { duplicate: true, .. }))),
        "{again:?}"
    );
}
