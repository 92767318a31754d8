//! Rules of an application: a message with a forbidden word is refused before it is stored, a
//! message in capitals is changed to lower case, and committed events are counted. `cargo run -p
//! chat-core --example hooks`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chat_core::async_trait;
use chat_core::commands::Commands;
use chat_core::engine::Engine;
use chat_core::hooks::{AppendContext, Hooks, Verdict};
use chat_core::model::{
    ConversationRef, DeviceId, Draft, Event, MessageText, Registration, Secret, Source, UserName, UserRef,
};
use chat_core::store::MemoryStore;

#[derive(Debug, Default)]
struct HouseRules {
    committed: AtomicUsize,
}

#[async_trait]
impl Hooks for HouseRules {
    async fn before_append(&self, _context: &AppendContext, mut draft: Draft) -> Verdict<Draft> {
        // The text of a message or of an edit: a rule about messages alone could be evaded by
        // editing.
        if let Some(text) = draft.written_text_mut() {
            if text.as_str().contains("spam") {
                return Verdict::refuse("no advertisements here");
            }
            let is_shouted = text
                .as_str()
                .chars()
                .filter(|c| c.is_alphabetic())
                .all(char::is_uppercase);
            if is_shouted && let Ok(lowered) = MessageText::new(text.as_str().to_lowercase()) {
                *text = lowered;
            }
        }
        Verdict::Allow(draft)
    }

    async fn on_committed(&self, events: &[Event]) {
        self.committed.fetch_add(events.len(), Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = Arc::new(HouseRules::default());
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .hooks(rules.clone())
        .build()
        .await?;
    let name = UserName::parse("alice")?;
    let registration = Registration::new(name, Secret::new("correct horse"));
    let alice = engine.register(Source::Local, registration).await?.id;
    let session = engine.session(alice, DeviceId::random()).await?;
    let notes = ConversationRef::Direct(UserRef::Id(alice));

    let refused = session.send_text(notes.clone(), "buy spam").await;
    println!("refused: {}", refused.expect_err("the rules forbid it"));
    let kept = session.send_text(notes, "GOOD MORNING").await?;
    println!("kept, in a lower voice, as number {}", kept.seq);

    drop(session);
    engine.shutdown().await;
    println!("committed events: {}", rules.committed.load(Ordering::Relaxed));
    Ok(())
}
