//! A bot that runs in the same process as the engine. It reads a feed: the events of all
//! conversations that the bot's account may read, those of each conversation in order and without
//! gaps. The store keeps the cursors of the feed. With a durable store, the bot would therefore
//! continue where it stopped, and the nodes of a cluster would share the work; this example uses a
//! `MemoryStore`.
//!
//! Run it with `cargo run -p chat-examples --example in_process_bot`.

use std::sync::Arc;

use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_examples::{AnyError, group_of, register};

/// Answers messages until the engine shuts down.
async fn run_bot(engine: Engine, bot: UserId) -> Result<(), AnyError> {
    let feed = engine.feed(FeedOptions::user("echo-bot", bot)).await?;
    let bot = engine.acting_as(bot);
    while let Some(item) = feed.next().await {
        let event = item.event();
        if let EventBody::Message(message) = event.body()?
            && event.sender != bot.user()
        {
            let text = MessageText::new(format!("you said: {}", message.text))?;
            // The idempotency key of the answer is derived from the event. If the feed hands the
            // event out again after a crash, the answer is still stored only once.
            let key = ClientMessageId(event.id.0);
            let answer = Draft::text(text).reply_to(event.seq).with_id(key);
            bot.send(event.conversation, answer).await?;
        }
        item.done();
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let engine = Engine::builder(Arc::new(MemoryStore::new())).build().await?;
    let (bot, alice) = (register(&engine, "echo").await?, register(&engine, "alice").await?);
    let group = group_of("general", &alice, &bot).await?;
    alice.send_text(group, "good morning").await?;
    let running = tokio::spawn(run_bot(engine.clone(), bot.user()));

    // Alice, who wrote to the group that she shares with the bot, receives the answer from a feed
    // as well.
    let feed = engine.feed(FeedOptions::user("alice", alice.user())).await?;
    while let Some(item) = feed.next().await {
        let (sender, body) = (item.event().sender, item.event().body()?);
        item.done();
        if let EventBody::Message(message) = body
            && sender == bot.user()
        {
            println!("the bot answered: {}", message.text);
            assert_eq!(message.text, "you said: good morning");
            break;
        }
    }
    feed.close().await;
    engine.shutdown().await;
    running.await??;
    Ok(())
}
