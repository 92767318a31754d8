//! Tests of the hooks that run before a user joins or creates a group.

use super::*;

/// Hooks that delay joins until the test admits them, and number the groups that are created.
#[derive(Debug)]
struct JoinGate {
    /// Has a permit for each call of `before_join`.
    asked: Semaphore,
    /// Has a permit for each join that the test admits.
    admit: Semaphore,
    /// Number for the next group that is created.
    next_number: AtomicU32,
}

#[async_trait]
impl Hooks for JoinGate {
    async fn before_join(&self, _: &GroupContext, note: Note) -> Verdict<Note> {
        self.asked.add_permits(1);
        self.admit.acquire().await.unwrap().forget();
        Verdict::Allow(note)
    }

    async fn before_create_group(&self, _: &Actor, mut group: NewGroup) -> Verdict<NewGroup> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        group.description = Description::new(format!("number {number}")).unwrap();
        Verdict::Allow(group)
    }
}

/// Timeout that exceeds the duration of every test.
const MINUTE: Duration = Duration::from_secs(60);

async fn engine_with_join_gate() -> (Engine, Arc<JoinGate>) {
    let join_gate = Arc::new(JoinGate {
        asked: Semaphore::new(0),
        admit: Semaphore::new(0),
        next_number: AtomicU32::new(0),
    });
    let mut config = config();
    (config.hook_timeout, config.request_timeout) = (MINUTE, MINUTE);
    let engine = builder().config(config).hooks(join_gate.clone());
    (engine.build().await.unwrap(), join_gate)
}

/// A slow hook that decides whether an outsider may join does not delay the members of the group. A
/// message that the outsider sends to the group afterwards waits until the hook has decided.
#[tokio::test]
async fn slow_join_hook_delays_only_its_session() {
    let (engine, join_gate) = engine_with_join_gate().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = ConversationRef::Id(create_group(&alice, "rust").await);
    let joining = bob.execute(Command::JoinGroup {
        group: group.clone(),
        note: Note::default(),
    });
    let behind = bob.execute(Command::Send {
        conversation: group.clone(),
        draft: draft("second"),
    });
    let (joining, behind) = (tokio::spawn(joining), tokio::spawn(behind));
    join_gate.asked.acquire().await.unwrap().forget();
    let sent = alice.send_text(group.clone(), "first");
    let sent = tokio::time::timeout(MINUTE / 4, sent).await;
    sent.expect("the hook delays a member").unwrap();
    join_gate.admit.add_permits(1);
    joining.await.unwrap().unwrap();
    behind.await.unwrap().unwrap();
    assert_eq!(texts(&history(&alice, group).await), ["first", "second"]);
}

/// The hook gives each creation another description. A retry is recognised nevertheless, because
/// requests are compared as they were sent.
#[tokio::test]
async fn retried_group_creation_is_recognised_by_its_request() {
    let (engine, _) = engine_with_join_gate().await;
    let alice = new_user(&engine, "alice").await;
    let new = NewGroup::new(GroupName::parse("rust").unwrap());
    let created = alice.create_group(new.clone()).await.unwrap();
    assert_eq!(alice.create_group(new.clone()).await.unwrap().id, created.id);
    let mut other = new;
    other.description = Description::new("another description").unwrap();
    assert_eq!(error_code(alice.create_group(other).await), ReplyCode::Conflict);
}
