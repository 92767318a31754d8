//! Tests of hooks that refuse a retry of a stored command or the first message of a conversation,
//! that refuse a draft shortly before its deadline, or that observe a resent message.

use super::*;
use crate::store::MemoryStore;
use crate::testkit::store::{FaultyStore, HoldGuard};

/// Hooks that refuse every draft and every new group while a flag is set.
#[derive(Debug, Default)]
struct Switch {
    refuses: AtomicBool,
    /// Conversation of each draft that the hooks decided about; `None` if it was not open yet.
    asked: Mutex<Vec<Option<ConversationId>>>,
}

#[async_trait]
impl Hooks for Switch {
    async fn before_append(&self, context: &AppendContext, draft: Draft) -> Verdict<Draft> {
        self.asked.lock().unwrap().push(context.conversation);
        refuse_if(self.refuses.load(Ordering::SeqCst), draft)
    }

    async fn before_create_group(&self, _: &Actor, group: NewGroup) -> Verdict<NewGroup> {
        refuse_if(self.refuses.load(Ordering::SeqCst), group)
    }
}

#[tokio::test]
async fn retry_of_a_stored_draft_or_group_succeeds_although_a_hook_refuses_it_now() {
    let hooks = Arc::new(Switch::default());
    let engine = builder().hooks(hooks.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let stored = draft("hello");
    let first = alice.send(direct(&alice), stored.clone()).await.unwrap();
    let new = NewGroup::new(GroupName::parse("rust").unwrap());
    let group = alice.create_group(new.clone()).await.unwrap();
    hooks.refuses.store(true, Ordering::SeqCst);
    let again = alice.send(direct(&alice), stored.clone()).await.unwrap();
    assert_eq!(
        (again.seq, again.event_id, again.duplicate),
        (first.seq, first.event_id, true)
    );
    assert_eq!(alice.create_group(new).await.unwrap().id, group.id);
    // Another use of the id, and a draft that was not stored, are refused.
    for refused in [draft("other").with_id(stored.client_message_id), draft("new")] {
        let refused = alice.send(direct(&alice), refused).await;
        assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    }
    let elsewhere = alice.send(group.id, stored).await;
    assert_eq!(error_code(elsewhere), ReplyCode::RefusedByPolicy);
    let refused = alice
        .create_group(NewGroup::new(GroupName::parse("more").unwrap()))
        .await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
}

#[tokio::test]
async fn refused_first_message_opens_no_conversation() {
    let hooks = Arc::new(Switch::default());
    let engine = builder().hooks(hooks.clone()).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let before = bob.conversations().await.unwrap();
    hooks.refuses.store(true, Ordering::SeqCst);
    let refused = alice.send_text(direct(&bob), "casino").await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    assert_eq!(
        bob.conversations().await.unwrap(),
        before,
        "neither a conversation nor an event about it"
    );
    let missing = alice.execute(Command::GetConversation(direct(&bob))).await;
    assert_eq!(error_code(missing), ReplyCode::NotFound);
    hooks.refuses.store(false, Ordering::SeqCst);
    let sent = alice.send_text(direct(&bob), "hello").await.unwrap();
    alice.send_text(direct(&bob), "again").await.unwrap();
    let asked = hooks.asked.lock().unwrap().clone();
    assert_eq!(asked, [None, None, Some(sent.conversation)]);
}

/// Hooks that refuse every draft, and from then on hold the store.
#[derive(Debug)]
struct RefuseAndHold {
    store: Arc<FaultyStore>,
    held: Mutex<Option<HoldGuard>>,
}

#[async_trait]
impl Hooks for RefuseAndHold {
    async fn before_append(&self, _: &AppendContext, _: Draft) -> Verdict<Draft> {
        *self.held.lock().unwrap() = Some(self.store.hold());
        Verdict::refuse("not here")
    }
}

/// The engine looks for a refused draft among the stored events. This search has no separate time
/// limit: the whole command ends after `request_timeout` plus `hook_timeout`.
#[tokio::test(start_paused = true)]
async fn draft_that_is_refused_late_is_answered_in_time() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let hooks = Arc::new(RefuseAndHold {
        store: store.clone(),
        held: Mutex::default(),
    });
    let mut config = config();
    (config.request_timeout, config.hook_timeout) = (Duration::from_secs(5), Duration::from_secs(1));
    let engine = Engine::builder(store.clone()).config(config).hooks(hooks);
    let engine = engine.build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let held = store.hold();
    let started = tokio::time::Instant::now();
    let sending = tokio::spawn(alice.execute(Command::Send {
        conversation: direct(&alice),
        draft: draft("x"),
    }));
    tokio::time::sleep(Duration::from_secs(4)).await;
    drop(held);
    assert_eq!(error_code(sending.await.unwrap()), ReplyCode::TryAgain);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(6100), "{took:?}");
}

#[tokio::test]
async fn observers_see_a_resent_message_once() {
    let rules = Arc::new(Rules::default());
    let switch = Arc::new(Switch::default());
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let engine = Engine::builder(store.clone()).config(config());
    let engine = engine.hooks(switch.clone()).hooks(rules.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    let stored = draft("one");
    alice.send(direct(&alice), stored.clone()).await.unwrap();
    assert!(alice.send(direct(&alice), stored.clone()).await.unwrap().duplicate);
    switch.refuses.store(true, Ordering::SeqCst);
    assert!(alice.send(direct(&alice), stored).await.unwrap().duplicate);
    switch.refuses.store(false, Ordering::SeqCst);
    // The engine finds this message when it repeats the commit, and no hook has observed it yet.
    store.fail_after_commit();
    alice.send_text(direct(&alice), "two").await.unwrap();
    drop(alice);
    engine.shutdown().await;
    let seen = rules.seen.lock().unwrap().clone();
    assert_eq!(seen, ["registered 1", "start", "1 one", "2 two", "end Normal"]);
}
