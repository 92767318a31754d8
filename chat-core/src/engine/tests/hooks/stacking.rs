//! Tests of several hooks on one engine.

use super::moderation::Moderation;
use super::*;

/// Hook that appends a suffix to messages.
#[derive(Debug)]
struct Suffix(&'static str);

#[async_trait]
impl Hooks for Suffix {
    async fn before_append(&self, _: &AppendContext, mut draft: Draft) -> Verdict<Draft> {
        if let DraftContent::Message { text: written, .. } = &mut draft.content {
            let extended = format!("{}{}", written.as_str(), self.0);
            *written = text(&extended);
        }
        Verdict::Allow(draft)
    }
}

#[tokio::test]
async fn stacked_hooks_run_in_order_and_one_refusal_refuses_the_draft() {
    let moderation = Arc::new(Moderation::default());
    let stacked = builder().hooks(Arc::new(Suffix(" 1"))).hooks(Arc::new(Suffix(" 2")));
    let engine = stacked.hooks(moderation.clone()).build().await.unwrap();
    let alice = new_user(&engine, "alice").await;
    alice.send_text(direct(&alice), "one").await.unwrap();
    let refused = alice.send_text(direct(&alice), "spam").await;
    assert_eq!(error_code(refused), ReplyCode::RefusedByPolicy);
    assert_eq!(texts(&history(&alice, direct(&alice)).await), ["one 1 2"]);
    assert_eq!(moderation.asked.lock().unwrap().len(), 2);
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
async fn stacked_hooks_share_one_timeout_that_is_added_to_the_request_timeout() {
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
