//! Tests of several hooks on one engine.

use super::moderation::Moderation;
use super::*;

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
