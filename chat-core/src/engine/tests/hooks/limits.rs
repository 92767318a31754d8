//! Tests that the rate limits of users, and those of sources on registrations, also bound the calls
//! of hooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::super::support::*;
use crate::auth::ThrottleOptions;
use crate::commands::Commands;
use crate::engine::{Engine, EngineConfig};
use crate::hooks::{Actor, FriendshipStep, GroupContext, Hooks, Verdict};
use crate::model::*;
use crate::rate::Rate;

const HOUR: Duration = Duration::from_secs(3600);
/// Number of times that a test executes a command whose rate is two an hour.
const ATTEMPTS: usize = 6;

/// Hooks that count their calls. They refuse all invitations and group changes, new groups with the
/// name `refused`, joins with the note `refused`, friend requests and answers of the user
/// `refused`, and registrations of the name `spammer`.
#[derive(Debug, Default)]
struct CountingHooks {
    calls: AtomicU32,
}

impl CountingHooks {
    fn decide<T>(&self, request: T, refuses: bool) -> Verdict<T> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if refuses {
            return Verdict::Refuse {
                code: ReplyCode::TryAgain,
                text: "not now".to_owned(),
            };
        }
        Verdict::Allow(request)
    }

    /// Returns the number of calls of the hooks since the last call of `take_calls`.
    fn take_calls(&self) -> u32 {
        self.calls.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Hooks for CountingHooks {
    async fn before_register(&self, _: Source, registration: Registration) -> Verdict<Registration> {
        let refuses = registration.name.as_str() == "spammer";
        self.decide(registration, refuses)
    }

    async fn before_create_group(&self, _: &Actor, group: NewGroup) -> Verdict<NewGroup> {
        let refuses = group.name.as_str() == "refused";
        self.decide(group, refuses)
    }

    async fn before_update_group(&self, _: &GroupContext, changes: GroupChanges) -> Verdict<GroupChanges> {
        self.decide(changes, true)
    }

    async fn before_join(&self, _: &GroupContext, note: Note) -> Verdict<Note> {
        let refuses = note.as_str() == "refused";
        self.decide(note, refuses)
    }

    async fn before_invite(&self, _: &GroupContext, _: &UserInfo) -> Verdict<()> {
        self.decide((), true)
    }

    async fn before_befriend(&self, actor: &Actor, _: &UserInfo, _: &FriendshipStep) -> Verdict<()> {
        self.decide((), actor.user.name == "refused")
    }
}

/// Returns a configuration that allows each user, in an hour, two group creations, two friend
/// requests, two invitations, and two of the other commands whose hooks [`CountingHooks`] counts.
fn two_of_each_per_hour() -> EngineConfig {
    let two = Rate::new(2, HOUR);
    let mut config = config();
    config.group_creation_rate = two;
    config.friend_request_rate = two;
    config.invitation_rate = two;
    config.hook_command_rate = two;
    config
}

async fn engine_with_counting_hooks(config: EngineConfig) -> (Engine, Arc<CountingHooks>) {
    let hooks = Arc::new(CountingHooks::default());
    let engine = builder().config(config).hooks(hooks.clone()).build().await.unwrap();
    (engine, hooks)
}

#[tokio::test]
async fn refused_commands_call_hooks_within_the_rate_only() {
    let (engine, hooks) = engine_with_counting_hooks(two_of_each_per_hour()).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let refused = new_user(&engine, "refused").await;
    let group = ConversationRef::Id(create_group(&alice, "rust").await);
    let note = || Note::new("refused").unwrap();
    hooks.take_calls();
    for attempt in 0..ATTEMPTS {
        let expected = if attempt < 2 {
            ReplyCode::TryAgain
        } else {
            ReplyCode::LimitExceeded
        };
        let created = refused.execute(create_group_command("refused")).await;
        assert_eq!(error_code(created), expected, "creation {attempt}");
        let requested = refused.request_friend(user(&bob), Note::default()).await;
        assert_eq!(error_code(requested), expected, "request {attempt}");
        let invited = alice.invite_member(group.clone(), user(&bob)).await;
        assert_eq!(error_code(invited), expected, "invitation {attempt}");
        let joined = bob.join_group(group.clone(), note()).await;
        assert_eq!(error_code(joined), expected, "join {attempt}");
        let changed = alice.update_group(group.clone(), GroupChanges::default()).await;
        assert_eq!(error_code(changed), expected, "change {attempt}");
        let accepted = refused.answer_friend(user(&bob), true).await;
        assert_eq!(error_code(accepted), expected, "acceptance {attempt}");
    }
    assert_eq!(hooks.take_calls(), 6 * 2, "two calls for each of the six commands");
}

/// Commands that change nothing count against the rate too.
#[tokio::test]
async fn repeated_commands_call_hooks_within_the_rate_only() {
    let (engine, hooks) = engine_with_counting_hooks(two_of_each_per_hour()).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = ConversationRef::Id(create_group(&alice, "rust").await);
    let new_group = NewGroup::new(GroupName::parse("bobs").unwrap());
    hooks.take_calls();
    for _ in 0..ATTEMPTS {
        let _ = bob.create_group(new_group.clone()).await;
        let _ = bob.request_friend(user(&alice), Note::default()).await;
        let _ = bob.join_group(group.clone(), Note::default()).await;
        // The hooks refuse the invitation, and alice has no request from herself to accept.
        let _ = bob.invite_member(group.clone(), user(&alice)).await;
        let _ = alice.answer_friend(user(&alice), true).await;
    }
    assert_eq!(hooks.take_calls(), 5 * 2, "two calls for each of the five commands");
    // A repeated request gets the same answer, without a call of the hooks.
    bob.request_friend(user(&alice), Note::default()).await.unwrap();
    assert_eq!(hooks.take_calls(), 0);
}

#[tokio::test]
async fn registrations_beyond_the_limit_do_not_reach_the_hooks() {
    let mut config = config();
    config.throttle = ThrottleOptions::danger_unlimited();
    config.throttle.registration_rate_per_source = Rate::new(2, HOUR);
    let (engine, hooks) = engine_with_counting_hooks(config).await;
    let source = Source::Ip([192, 0, 2, 1].into());
    for number in 0..ATTEMPTS {
        let registered = engine.register(source, registration(&format!("user{number}"))).await;
        assert_eq!(registered.is_ok(), number < 2, "{number}: {registered:?}");
    }
    assert_eq!(hooks.take_calls(), 2);
    // Registrations that create no account count too, once the hooks were asked.
    for (host, name) in [(1, "spammer"), (2, "user0")] {
        let source = Source::Ip([198, 51, 100, host].into());
        for attempt in 0..ATTEMPTS {
            let registered = engine.register(source, registration(name)).await;
            let is_limited = error_code(registered) == ReplyCode::Throttled;
            assert_eq!(is_limited, attempt >= 2, "{name}, {attempt}");
        }
        assert_eq!(hooks.take_calls(), 2, "{name}");
    }
}

/// Without hooks, a registration that creates no account costs little, and a user may correct it.
#[tokio::test]
async fn failed_registrations_are_not_charged_without_hooks() {
    let mut config = config();
    config.throttle.registration_rate_per_source = Rate::new(2, HOUR);
    let engine = builder().config(config).build().await.unwrap();
    let source = Source::Ip([192, 0, 2, 1].into());
    engine.register(source, registration("alice")).await.unwrap();
    for _ in 0..ATTEMPTS {
        let taken = engine.register(source, registration("alice")).await;
        assert_eq!(error_code(taken), ReplyCode::NameTaken);
    }
    engine.register(source, registration("bob")).await.unwrap();
}

#[tokio::test]
async fn commands_that_change_nothing_are_not_charged_without_hooks() {
    let engine = builder().config(two_of_each_per_hour()).build().await.unwrap();
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let group = ConversationRef::Id(create_group(&alice, "rust").await);
    let new_group = NewGroup::new(GroupName::parse("bobs").unwrap());
    for _ in 0..ATTEMPTS {
        bob.create_group(new_group.clone()).await.unwrap();
        bob.request_friend(user(&alice), Note::default()).await.unwrap();
        bob.join_group(group.clone(), Note::default()).await.unwrap();
        let unknown = alice.invite_member(group.clone(), UserRef::Id(UserId(999_999))).await;
        assert_eq!(error_code(unknown), ReplyCode::NotFound);
    }
}
