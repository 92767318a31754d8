//! Tests of the hooks, with which an application decides about commands and observes events.

mod joining;
mod limits;
mod moderation;
mod profiles;
mod retries;
mod stacking;

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

fn refuse_if<T>(is_forbidden: bool, value: T) -> Verdict<T> {
    if is_forbidden {
        Verdict::refuse("against the rules")
    } else {
        Verdict::Allow(value)
    }
}

/// Hooks that decide about a registration by its name and about a message by its text, and record
/// the messages, sessions and new accounts that they observe. They panic when they observe the
/// message "break the observer".
#[derive(Debug, Default)]
struct Rules {
    /// Records of what the hooks have observed, in order.
    seen: Mutex<Vec<String>>,
}

impl Rules {
    fn record(&self, what: String) {
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
                self.record(format!("{} {text}", event.seq));
            }
        }
    }

    async fn on_session_start(&self, _: Caller, _: Source) {
        self.record("start".to_owned());
    }

    async fn on_session_end(&self, _: Caller, reason: CloseCode) {
        self.record(format!("end {reason:?}"));
    }

    async fn on_registered(&self, user: UserId) {
        self.record(format!("registered {user}"));
    }
}

async fn engine_with_rules(config: EngineConfig) -> (Engine, Arc<Rules>) {
    let rules = Arc::new(Rules::default());
    let engine = builder().config(config).hooks(rules.clone()).build().await.unwrap();
    (engine, rules)
}

fn with_short_hook_timeout(policy: HookPolicy) -> EngineConfig {
    let mut config = config();
    config.hook_policy = policy;
    config.hook_timeout = Duration::from_millis(50);
    config
}

#[tokio::test]
async fn hooks_allow_refuse_or_change_requests() {
    let (engine, _) = engine_with_rules(config()).await;
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
    let (engine, _) = engine_with_rules(config()).await;
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
        let (engine, _) = engine_with_rules(with_short_hook_timeout(policy)).await;
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

/// A hook hangs until its timeout for one of the drafts. Another user sends at the same time.
#[tokio::test]
async fn drafts_keep_their_order_when_a_hook_hangs() {
    let (engine, _) = engine_with_rules(with_short_hook_timeout(HookPolicy::FailOpen)).await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    let sends = ["1", "hang", "2", "rude", "3"].map(|text| alice.send_text(direct(&alice), text));
    let other = bob.send_text(direct(&bob), "from another user");
    let (sent, _) = tokio::join!(futures_util::future::join_all(sends), other);
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(
        texts(&history(&alice, direct(&alice)).await),
        ["1", "hang", "2", "polite", "3"]
    );
}

#[tokio::test]
async fn observing_hooks_are_still_called_after_a_panic() {
    let (engine, rules) = engine_with_rules(config()).await;
    let alice = new_user(&engine, "alice").await;
    for text in ["one", "break the observer", "two"] {
        alice.send_text(direct(&alice), text).await.unwrap();
    }
    alice.execute(Command::Logout).await.unwrap();
    drop(alice);
    engine.shutdown().await;
    // The hook panics at the second message, and is called again for the next.
    let seen = rules.seen.lock().unwrap().clone();
    assert_eq!(seen, ["registered 1", "start", "1 one", "3 two", "end LoggedOut"]);
}
