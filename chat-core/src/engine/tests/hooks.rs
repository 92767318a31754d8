//! Tests of the hooks, with which an application decides about commands and observes events.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::support::*;
use crate::auth::{Profile, Subject};
use crate::commands::Commands;
use crate::engine::operator::{CreateAccount, OperatorName};
use crate::engine::{Engine, EngineConfig, HookPolicy};
use crate::hooks::{Actor, AppendContext, AppendTarget, FriendshipStep, GroupContext, Hooks, Verdict};
use crate::model::*;

#[derive(Debug, Default)]
struct Rules {
    seen: Mutex<Vec<String>>,
}

impl Rules {
    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }
}

#[async_trait]
impl Hooks for Rules {
    async fn before_register(&self, _: Source, mut registration: Registration) -> Verdict<Registration> {
        if registration.name.as_str().contains("spam") {
            return Verdict::refuse("no spam");
        }
        registration.display_name = Some(DisplayName::parse("from the hook").unwrap());
        Verdict::Allow(registration)
    }

    async fn before_append(&self, _: &AppendContext, mut draft: Draft) -> Verdict<Draft> {
        let DraftContent::Message { text: content, .. } = &mut draft.content else {
            return Verdict::Allow(draft);
        };
        match content.as_str() {
            "refuse" => return Verdict::refuse("not here"),
            "broken" => {
                return Verdict::Refuse {
                    code: ReplyCode::Internal,
                    text: "the rules are broken".into(),
                };
            }
            "panic" => panic!("injected panic of a hook"),
            "hang" => std::future::pending().await,
            "rude" => *content = text("polite"),
            _ => {}
        }
        Verdict::Allow(draft)
    }

    async fn on_committed(&self, events: &[Event]) {
        for event in events {
            if let Some(text) = message(event) {
                assert_ne!(text, "break the observer");
                self.note(format!("{} {text}", event.seq));
            }
        }
    }

    async fn on_session_start(&self, _: Caller, _: Source) {
        self.note("start".to_owned());
    }

    async fn on_session_end(&self, _: Caller, reason: CloseCode) {
        self.note(format!("end {reason:?}"));
    }

    async fn on_registered(&self, user: UserId) {
        self.note(format!("registered {user}"));
    }
}

async fn with(config: EngineConfig) -> (Engine, Arc<Rules>) {
    let rules = Arc::new(Rules::default());
    let engine = builder().config(config).hooks(rules.clone()).build().await.unwrap();
    (engine, rules)
}

fn quick(policy: HookPolicy) -> EngineConfig {
    let mut config = config();
    config.hook_policy = policy;
    config.hook_timeout = Duration::from_millis(50);
    config
}

#[tokio::test]
async fn hooks_allow_change_and_refuse() {
    let (engine, _) = with(config()).await;
    let refused = engine.register(Source::Local, registration("spammer")).await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    let alice = new_user(&engine, "alice").await;
    assert_eq!(alice.user().display_name, "from the hook");
    alice.send_text(direct(&alice), "fine").await.unwrap();
    let rude = draft("rude");
    alice.send(direct(&alice), rude.clone()).await.unwrap();
    let refused = alice.send_text(direct(&alice), "refuse").await.unwrap_err();
    assert_eq!(
        (refused.code, refused.text.as_ref()),
        (ReplyCode::RefusedByPolicy, "not here")
    );
    let again = alice.send(direct(&alice), rude).await.unwrap();
    assert!(
        again.duplicate,
        "a retry is recognised by the draft as sent, not as the hook changed it"
    );
    assert_eq!(texts(&history(&alice, direct(&alice)).await), ["fine", "polite"]);
}

/// A client gives up a draft that is repeatedly answered with an internal error, so the drafts
/// behind it get another code.
#[tokio::test]
async fn drafts_behind_an_internal_error_of_a_hook_are_answered_try_again() {
    let (engine, _) = with(config()).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let sends =
        [("broken", &alice), ("one", &alice), ("two", &bob)].map(|(text, to)| alice.send_text(direct(to), text));
    let codes = join_all(sends).await.into_iter().map(error_code);
    let [broken, one, two] = codes.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(
        [broken, one, two],
        [ReplyCode::Internal, ReplyCode::TryAgain, ReplyCode::TryAgain]
    );
}

#[tokio::test]
async fn failing_hook_refuses_or_allows_by_policy() {
    for (policy, expected) in [
        (HookPolicy::FailClosed, Err(ReplyCode::RefusedByPolicy)),
        (HookPolicy::FailOpen, Ok(())),
    ] {
        let (engine, _) = with(quick(policy)).await;
        let alice = new_user(&engine, "alice").await;
        for what in ["panic", "hang"] {
            let sent = alice.send_text(direct(&alice), what).await;
            assert_eq!(
                sent.map(drop).map_err(|error| error.code),
                expected,
                "{what}, {policy:?}"
            );
        }
        alice.send_text(direct(&alice), "fine").await.unwrap();
    }
}

/// A hook that hangs or fails does not delay other senders, and drafts of its sender keep their
/// order.
#[tokio::test]
async fn order_survives_slow_hooks() {
    let (engine, _) = with(quick(HookPolicy::FailOpen)).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let sends = ["1", "hang", "2", "rude", "3"].map(|text| alice.send_text(direct(&alice), text));
    let other = bob.send_text(direct(&bob), "not delayed");
    let (sent, _) = tokio::join!(futures_util::future::join_all(sends), other);
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(
        texts(&history(&alice, direct(&alice)).await),
        ["1", "hang", "2", "polite", "3"]
    );
}

#[tokio::test]
async fn observers_see_committed_events() {
    let (engine, rules) = with(config()).await;
    let alice = new_user(&engine, "alice").await;
    for text in ["one", "break the observer", "two"] {
        alice.send_text(direct(&alice), text).await.unwrap();
    }
    alice.execute(Command::Logout).await.unwrap();
    drop(alice);
    engine.shutdown().await;
    let seen = rules.seen.lock().unwrap().clone();
    assert_eq!(seen, ["registered 1", "start", "1 one", "3 two", "end LoggedOut"]);
}

/// Hooks that refuse or change by name and role, and record their calls.
#[derive(Debug, Default)]
struct Moderation {
    asked: Mutex<Vec<String>>,
}

impl Moderation {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

fn refuse_if<T>(is_forbidden: bool, value: T) -> Verdict<T> {
    if is_forbidden {
        Verdict::refuse("against the rules")
    } else {
        Verdict::Allow(value)
    }
}

#[async_trait]
impl Hooks for Moderation {
    async fn before_append(&self, context: &AppendContext, draft: Draft) -> Verdict<Draft> {
        let sender = &context.actor.user.name;
        self.note(match &context.target {
            AppendTarget::Direct(peer) => format!("{sender} to {}", peer.name),
            AppendTarget::Group { group, role } => format!("{sender} as {role:?} to {}", group.profile.name),
            AppendTarget::Inbox => format!("{sender} to the inbox"),
        });
        let is_spam = draft.written_text().is_some_and(|text| text.as_str().contains("spam"));
        refuse_if(is_spam, draft)
    }

    async fn before_create_group(&self, actor: &Actor, mut group: NewGroup) -> Verdict<NewGroup> {
        group.description = Description::new(format!("made by {}", actor.user.name)).unwrap();
        refuse_if(group.name.as_str().contains("spam"), group)
    }

    async fn before_update_group(&self, context: &GroupContext, changes: GroupChanges) -> Verdict<GroupChanges> {
        self.note(format!("{:?} changes {}", context.role, context.group.profile.name));
        let is_forbidden = changes.name.as_ref().is_some_and(|name| name.as_str().contains("spam"));
        refuse_if(is_forbidden, changes)
    }

    async fn before_join(&self, context: &GroupContext, note: Note) -> Verdict<Note> {
        refuse_if(context.actor.user.name == "mallory", note)
    }

    async fn before_invite(&self, _: &GroupContext, invited: &UserInfo) -> Verdict<()> {
        refuse_if(invited.name == "mallory", ())
    }

    async fn before_befriend(&self, actor: &Actor, peer: &UserInfo, step: &FriendshipStep) -> Verdict<()> {
        let is_accepted_by_bob = *step == FriendshipStep::Accept && actor.user.name == "bob";
        refuse_if(peer.name == "mallory" || is_accepted_by_bob, ())
    }
}

async fn moderated() -> (Engine, Arc<Moderation>) {
    let moderation = Arc::new(Moderation::default());
    let engine = builder().hooks(moderation.clone()).build().await.unwrap();
    (engine, moderation)
}

#[tokio::test]
async fn append_hook_sees_names_and_roles_and_covers_edits() {
    let (engine, moderation) = moderated().await;
    let alice = new_user(&engine, "alice").await;
    let group = group(&alice, "rust").await;
    let sent = alice.send_text(group, "fine").await.unwrap();
    let edited = alice.edit(group, sent.seq, text("now spam")).await;
    assert_eq!(error_code(edited), ReplyCode::RefusedByPolicy);
    alice.send_text(direct(&alice), "note").await.unwrap();
    assert_eq!(texts(&history(&alice, ConversationRef::Id(group)).await), ["fine"]);
    let asked = moderation.asked.lock().unwrap().clone();
    let to_group = "alice as Some(Owner) to rust";
    assert_eq!(asked, [to_group, to_group, "alice to alice"]);
}

#[tokio::test]
async fn group_hooks_change_and_refuse() {
    let (engine, moderation) = moderated().await;
    let (alice, mallory) = (new_user(&engine, "alice").await, new_user(&engine, "mallory").await);
    let refused = alice
        .create_group(NewGroup::new(GroupName::parse("spam").unwrap()))
        .await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);

    let new = NewGroup::new(GroupName::parse("rust").unwrap());
    let created = alice.create_group(new.clone()).await.unwrap();
    let again = alice.create_group(new).await.unwrap();
    assert_eq!(created.id, again.id, "the key of a creation survives the hook");
    let ConversationView::Group(info) = created.view else {
        panic!("not a group")
    };
    assert_eq!(info.profile.description, "made by alice");

    let group = ConversationRef::Id(created.id);
    let renamed = GroupChanges {
        name: Some(GroupName::parse("more-spam").unwrap()),
        ..GroupChanges::default()
    };
    assert_eq!(
        error_code(alice.update_group(group.clone(), renamed).await),
        ReplyCode::RefusedByPolicy
    );
    assert_eq!(*moderation.asked.lock().unwrap(), ["Some(Owner) changes rust"]);
    let joined = mallory.join_group(group.clone(), Note::default()).await;
    assert_eq!(error_code(joined), ReplyCode::RefusedByPolicy);
    let invited = alice.invite_member(group, user(&mallory)).await;
    assert_eq!(error_code(invited), ReplyCode::RefusedByPolicy);
}

#[tokio::test]
async fn hooks_do_not_reveal_unlisted_groups_to_strangers() {
    let (engine, _) = moderated().await;
    let (alice, mallory) = (new_user(&engine, "alice").await, new_user(&engine, "mallory").await);
    let mut new = NewGroup::new(GroupName::parse("secret").unwrap());
    new.unlisted = true;
    let group = alice.create_group(new).await.unwrap().id;
    let joined = mallory.join_group(group, Note::default()).await;
    assert_eq!(error_code(joined), ReplyCode::NotFound);
}

#[tokio::test]
async fn friendship_hooks_refuse_requests_and_answers() {
    let (engine, _) = moderated().await;
    let alice = new_user(&engine, "alice").await;
    let (bob, mallory) = (new_user(&engine, "bob").await, new_user(&engine, "mallory").await);
    let refused = alice.request_friend(user(&mallory), Note::default()).await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    alice.request_friend(user(&bob), Note::default()).await.unwrap();
    let accepted = bob.answer_friend(user(&alice), true).await;
    assert_eq!(error_code(accepted), ReplyCode::RefusedByPolicy);
    bob.answer_friend(user(&alice), false).await.unwrap();
}

/// Appends its mark to messages.
#[derive(Debug)]
struct Mark(&'static str);

#[async_trait]
impl Hooks for Mark {
    async fn before_append(&self, _: &AppendContext, mut draft: Draft) -> Verdict<Draft> {
        if let DraftContent::Message { text: written, .. } = &mut draft.content {
            let marked = format!("{}{}", written.as_str(), self.0);
            *written = text(&marked);
        }
        Verdict::Allow(draft)
    }
}

#[tokio::test]
async fn stacked_hooks_run_in_order_and_the_first_refusal_decides() {
    let moderation = Arc::new(Moderation::default());
    let stacked = builder().hooks(Arc::new(Mark(" 1"))).hooks(Arc::new(Mark(" 2")));
    let engine = stacked.hooks(moderation.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    alice.send_text(direct(&alice), "one").await.unwrap();
    let refused = alice.send_text(direct(&alice), "spam").await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    assert_eq!(texts(&history(&alice, direct(&alice)).await), ["one 1 2"]);
    assert_eq!(moderation.asked.lock().unwrap().len(), 2);
}

/// Hooks that delay joins until the test admits them, and number the groups that are created.
#[derive(Debug)]
struct JoinGate {
    asked: Semaphore,
    admit: Semaphore,
    created: AtomicU32,
}

#[async_trait]
impl Hooks for JoinGate {
    async fn before_join(&self, _: &GroupContext, note: Note) -> Verdict<Note> {
        self.asked.add_permits(1);
        self.admit.acquire().await.unwrap().forget();
        Verdict::Allow(note)
    }

    async fn before_create_group(&self, _: &Actor, mut group: NewGroup) -> Verdict<NewGroup> {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
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
        created: AtomicU32::new(0),
    });
    let mut config = config();
    (config.hook_timeout, config.request_timeout) = (MINUTE, MINUTE);
    let engine = builder().config(config).hooks(join_gate.clone());
    (engine.build().await.unwrap(), join_gate)
}

/// A slow hook that decides about an outsider's request to join does not delay the members of the
/// group. Later commands of the outsider wait until the hook has decided.
#[tokio::test]
async fn slow_join_hook_delays_only_its_session() {
    let (engine, join_gate) = engine_with_join_gate().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = ConversationRef::Id(group(&alice, "rust").await);
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

/// Hooks that refuse display names with "admin" in them, and record new accounts.
#[derive(Debug, Default)]
struct DisplayNames {
    registered: Mutex<Vec<UserId>>,
    asked: Mutex<Vec<UserName>>,
}

impl DisplayNames {
    fn forbids(name: Option<&DisplayName>) -> bool {
        name.is_some_and(|name| name.as_str().contains("admin"))
    }
}

#[async_trait]
impl Hooks for DisplayNames {
    async fn before_register(&self, _: Source, registration: Registration) -> Verdict<Registration> {
        self.asked.lock().unwrap().push(registration.name.clone());
        refuse_if(Self::forbids(registration.display_name.as_ref()), registration)
    }

    async fn before_update_profile(&self, actor: &Actor, mut changes: ProfileChanges) -> Verdict<ProfileChanges> {
        if actor.user.name == "bob" {
            changes.display_name = Some(DisplayName::parse("changed by the hook").unwrap());
        }
        refuse_if(Self::forbids(changes.display_name.as_ref()), changes)
    }

    async fn on_registered(&self, user: UserId) {
        self.registered.lock().unwrap().push(user);
    }
}

fn display_name(name: &str) -> ProfileChanges {
    ProfileChanges {
        display_name: Some(DisplayName::parse(name).unwrap()),
        ..ProfileChanges::default()
    }
}

#[tokio::test]
async fn profile_hook_changes_and_refuses() {
    let engine = builder()
        .hooks(Arc::new(DisplayNames::default()))
        .build()
        .await
        .unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let refused = alice.update_profile(display_name("the admin")).await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    let changed = alice.update_profile(display_name("Alice")).await.unwrap();
    assert_eq!(changed.display_name, "Alice");
    let changed = bob.update_profile(display_name("Bob")).await.unwrap();
    assert_eq!(changed.display_name, "changed by the hook");
}

#[tokio::test]
async fn observing_hooks_see_every_new_account_and_deciding_hooks_those_of_guests() {
    let hooks = Arc::new(DisplayNames::default());
    let engine = builder().hooks(hooks.clone()).build().await.unwrap();
    let operator = engine.operator(OperatorName::new("carol").unwrap());
    let bob = operator.create_account(CreateAccount::new(UserName::parse("bob").unwrap()));
    let bob = bob.await.unwrap().id;
    let carl = engine.provision(Subject::new("s").unwrap(), Profile::default());
    let carl = carl.await.unwrap().id;
    let dora = register(&engine, "dora").await;
    engine.shutdown().await;
    assert_eq!(*hooks.registered.lock().unwrap(), [bob, carl, dora]);
    assert_eq!(*hooks.asked.lock().unwrap(), [UserName::parse("dora").unwrap()]);
}

/// Hooks that refuse every draft and every new group once a flag is set.
#[derive(Debug, Default)]
struct Switch {
    refuses: AtomicBool,
    /// Conversation of each draft that the hooks decided about.
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
async fn retry_of_a_stored_draft_succeeds_although_a_hook_refuses_it_now() {
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
