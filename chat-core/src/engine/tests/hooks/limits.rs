//! Tests that the rate limits of users also bound the calls of hooks, and that several hooks share
//! a timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::super::outages::{faulty, quick};
use super::super::support::*;
use crate::auth::ThrottleOptions;
use crate::commands::Commands;
use crate::engine::{Engine, EngineConfig, HookPolicy};
use crate::hooks::{Actor, AppendContext, FriendshipStep, GroupContext, Hooks, Verdict};
use crate::model::*;
use crate::rate::Rate;

const HOUR: Duration = Duration::from_secs(3600);
/// Attempts of a user at a rate of two an hour.
const ATTEMPTS: usize = 6;

/// Hooks that count their calls, and refuse commands about `refused`.
#[derive(Debug, Default)]
struct Counting {
    asked: AtomicU32,
}

impl Counting {
    fn ask<T>(&self, request: T, refuses: bool) -> Verdict<T> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if refuses {
            return Verdict::Refuse {
                code: ReplyCode::TryAgain,
                text: "not now".to_owned(),
            };
        }
        Verdict::Allow(request)
    }

    /// Returns the number of calls of the hooks since the last call of `take`.
    fn take(&self) -> u32 {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Hooks for Counting {
    async fn before_register(&self, _: Source, registration: Registration) -> Verdict<Registration> {
        self.ask(registration, false)
    }

    async fn before_create_group(&self, _: &Actor, group: NewGroup) -> Verdict<NewGroup> {
        let refuses = group.name.as_str() == "refused";
        self.ask(group, refuses)
    }

    async fn before_update_group(&self, _: &GroupContext, changes: GroupChanges) -> Verdict<GroupChanges> {
        self.ask(changes, true)
    }

    async fn before_join(&self, _: &GroupContext, note: Note) -> Verdict<Note> {
        let refuses = note.as_str() == "refused";
        self.ask(note, refuses)
    }

    async fn before_invite(&self, _: &GroupContext, _: &UserInfo) -> Verdict<()> {
        self.ask((), true)
    }

    async fn before_befriend(&self, actor: &Actor, _: &UserInfo, _: &FriendshipStep) -> Verdict<()> {
        self.ask((), actor.user.name == "refused")
    }
}

fn limited() -> EngineConfig {
    let two = Rate::new(2, HOUR);
    let mut config = config();
    config.group_creation_rate = two;
    config.friend_request_rate = two;
    config.invitation_rate = two;
    config.hook_command_rate = two;
    config
}

async fn counted(config: EngineConfig) -> (Engine, Arc<Counting>) {
    let hooks = Arc::new(Counting::default());
    let engine = builder().config(config).hooks(hooks.clone()).build().await.unwrap();
    (engine, hooks)
}

#[tokio::test]
async fn user_whom_hooks_refuse_makes_them_run_at_the_rate_only() {
    let (engine, hooks) = counted(limited()).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let refused = new_user(&engine, "refused").await;
    let group = ConversationRef::Id(group(&alice, "rust").await);
    let note = || Note::new("refused").unwrap();
    hooks.take();
    for attempt in 0..ATTEMPTS {
        let expected = if attempt < 2 {
            ReplyCode::TryAgain
        } else {
            ReplyCode::LimitExceeded
        };
        let created = refused.execute(create_group_command("refused")).await;
        assert_eq!(error_code(created), expected, "creation {attempt}");
        let asked = refused.request_friend(user(&bob), Note::default()).await;
        assert_eq!(error_code(asked), expected, "request {attempt}");
        let invited = alice.invite_member(group.clone(), user(&bob)).await;
        assert_eq!(error_code(invited), expected, "invitation {attempt}");
        let joined = bob.join_group(group.clone(), note()).await;
        assert_eq!(error_code(joined), expected, "join {attempt}");
        let changed = alice.update_group(group.clone(), GroupChanges::default()).await;
        assert_eq!(error_code(changed), expected, "change {attempt}");
        let accepted = refused.answer_friend(user(&bob), true).await;
        assert_eq!(error_code(accepted), expected, "acceptance {attempt}");
    }
    assert_eq!(hooks.take(), 6 * 2);
}

/// Commands that hooks allow and that change nothing count against the rate too.
#[tokio::test]
async fn user_who_repeats_commands_makes_hooks_run_at_the_rate_only() {
    let (engine, hooks) = counted(limited()).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = ConversationRef::Id(group(&alice, "rust").await);
    let wish = NewGroup::new(GroupName::parse("bobs").unwrap());
    hooks.take();
    for _ in 0..ATTEMPTS {
        let _ = bob.create_group(wish.clone()).await;
        let _ = bob.request_friend(user(&alice), Note::default()).await;
        let _ = bob.join_group(group.clone(), Note::default()).await;
        // Bob may not invite users, and Alice has no request to accept.
        let _ = bob.invite_member(group.clone(), user(&alice)).await;
        let _ = alice.answer_friend(user(&alice), true).await;
    }
    assert_eq!(hooks.take(), 5 * 2);
    // A repeated request gets the same answer, without a call of the hooks.
    bob.request_friend(user(&alice), Note::default()).await.unwrap();
    assert_eq!(hooks.take(), 0);
}

#[tokio::test]
async fn registrations_beyond_the_limit_do_not_reach_the_hooks() {
    let mut config = config();
    config.throttle = ThrottleOptions::danger_unlimited();
    config.throttle.registration_rate = Rate::new(2, HOUR);
    let (engine, hooks) = counted(config).await;
    let source = Source::Ip([192, 0, 2, 1].into());
    for number in 0..ATTEMPTS {
        let registered = engine.register(source, registration(&format!("user{number}"))).await;
        assert_eq!(registered.is_ok(), number < 2, "{number}: {registered:?}");
    }
    assert_eq!(hooks.take(), 2);
}

#[tokio::test]
async fn commands_without_hooks_are_charged_only_for_what_they_do() {
    let engine = builder().config(limited()).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = ConversationRef::Id(group(&alice, "rust").await);
    let wish = NewGroup::new(GroupName::parse("bobs").unwrap());
    for _ in 0..ATTEMPTS {
        bob.create_group(wish.clone()).await.unwrap();
        bob.request_friend(user(&alice), Note::default()).await.unwrap();
        bob.join_group(group.clone(), Note::default()).await.unwrap();
        let unknown = alice.invite_member(group.clone(), UserRef::Id(UserId(999_999))).await;
        assert_eq!(error_code(unknown), ReplyCode::NotFound);
    }
}

/// A hook that never decides about a draft.
#[derive(Debug)]
struct Hanging;

#[async_trait]
impl Hooks for Hanging {
    async fn before_append(&self, _: &AppendContext, _: Draft) -> Verdict<Draft> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn stacked_hooks_share_one_timeout_in_addition_to_the_request_timeout() {
    for (policy, expected) in [
        (HookPolicy::FailOpen, None),
        (HookPolicy::FailClosed, Some(ReplyCode::RefusedByPolicy)),
    ] {
        let mut config = config();
        config.hook_policy = policy;
        config.hook_timeout = Duration::from_secs(8);
        config.request_timeout = Duration::from_secs(5);
        let mut builder = builder().config(config);
        for _ in 0..3 {
            builder = builder.hooks(Arc::new(Hanging));
        }
        let engine = builder.build().await.unwrap();
        let alice = new_user(&engine, "alice").await;
        let started = tokio::time::Instant::now();
        let sent = alice.send_text(direct(&alice), "hello").await;
        assert_eq!(sent.err().map(|error| error.code), expected);
        let took = started.elapsed();
        assert!(
            (Duration::from_secs(8)..Duration::from_secs(9)).contains(&took),
            "{took:?}"
        );
    }
}

/// The unit of work that opens the conversation starts when most of the request's time has passed.
#[tokio::test]
async fn opening_without_an_answer_is_tracked_when_the_lookup_was_slow() {
    let (engine, store, alice) = faulty(quick()).await;
    let bob = new_user(&engine, "bob").await;
    befriend(&alice, &bob).await;
    tokio::time::pause();
    store.fail_hanging_after_commit();
    let held = store.hold();
    let sending = tokio::spawn(alice.execute(Command::Send {
        conversation: direct(&bob),
        draft: draft("first"),
    }));
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop(held);
    assert_eq!(error_code(sending.await.unwrap()), ReplyCode::TryAgain);
    // The conversation was committed nevertheless. Before the next sweep, only the tracking of
    // unconfirmed commits finds it.
    let opened = event(&bob, EventKind::ConversationOpened);
    let opened = tokio::time::timeout(Duration::from_secs(5), opened).await;
    opened.expect("the peer learns of the conversation");
}
