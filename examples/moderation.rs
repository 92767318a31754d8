//! Moderation: a rule that refuses messages and edits before they are stored, and a slow check that
//! recalls messages afterwards.
//!
//! Run it with `cargo run -p chat-examples --example moderation`.

use std::sync::Arc;

use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_examples::{AnyError, group_of, register};

/// Rule that only the owner and the admins of a group may advertise in it, and no user may in a
/// direct conversation.
#[derive(Debug)]
struct NoAdvertisements;

#[async_trait]
impl Hooks for NoAdvertisements {
    async fn before_append(&self, context: &AppendContext, draft: Draft) -> Verdict<Draft> {
        // The rule applies to the text of messages and of edits: otherwise, an edit could evade it.
        let text = draft.written_text().map_or("", MessageText::as_str);
        match &context.target {
            AppendTarget::Group { role: Some(role), .. } if *role >= Role::Admin => Verdict::Allow(draft),
            _ if text.contains("casino") => {
                let name = &context.actor.user.name;
                Verdict::refuse(format!(
                    "{name}, only the owner and the admins of a group may advertise, and only there"
                ))
            }
            _ => Verdict::Allow(draft),
        }
    }
}

/// Recalls messages whose text, as sent or as edited, a slow check classifies as spam. The feed
/// covers all conversations and delays no sender. With a durable store, it would continue after a
/// restart where it stopped.
async fn recall_spam(engine: Engine) -> Result<(), AnyError> {
    let operator = engine.operator(OperatorName::new("spam check")?);
    let feed = engine.feed(FeedOptions::all_conversations("spam-check")).await?;
    while let Some(item) = feed.next().await {
        let event = item.event();
        let written = match event.body()? {
            EventBody::Message(message) => Some((event.seq, message.text)),
            EventBody::Edit { target, text, .. } => Some((target, text)),
            _ => None,
        };
        if let Some((seq, text)) = written
            && is_spam(&text).await
        {
            let recalled = operator.recall(event.conversation, seq).await;
            // If a message and its edit are both spam, the second recall is refused.
            if let Err(error) = recalled
                && error.code != ReplyCode::AlreadyRecalled
            {
                return Err(error.into());
            }
        }
        item.done();
    }
    Ok(())
}

/// Stands for a model or a service that classifies the text.
async fn is_spam(text: &str) -> bool {
    tokio::task::yield_now().await;
    text.contains("lottery")
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .hooks(Arc::new(NoAdvertisements))
        .build()
        .await?;
    let checking = tokio::spawn(recall_spam(engine.clone()));
    let (alice, bob) = (register(&engine, "alice").await?, register(&engine, "bob").await?);
    let group = group_of("general", &alice, &bob).await?;

    let refused = bob
        .send_text(group, "come to my casino")
        .await
        .expect_err("the rule refuses it");
    println!("refused: {refused}");
    assert_eq!(refused.code, ReplyCode::RefusedByPolicy);
    let sent = bob.send_text(group, "hello").await?;
    let edited = bob.edit(group, sent.seq, MessageText::new("come to my casino")?).await;
    assert_eq!(
        edited.expect_err("the same rule refuses it").code,
        ReplyCode::RefusedByPolicy
    );
    alice.send_text(group, "our casino night is on Friday").await?;

    let spam = bob.send_text(group, "you have won the lottery").await?;
    let feed = engine.feed(FeedOptions::user("alice", alice.user())).await?;
    while let Some(item) = feed.next().await {
        let body = item.event().body()?;
        item.done();
        if body.target() == Some(spam.seq) {
            println!("recalled: message {}", spam.seq);
            break;
        }
    }
    feed.close().await;
    engine.shutdown().await;
    checking.await??;
    Ok(())
}
