//! Two nodes in one process: one store, one bus, two engines.
//! `cargo run -p chat-core --example two_nodes`

use std::sync::Arc;

use chat_core::bus::MemoryBus;
use chat_core::codec::body;
use chat_core::commands::Commands;
use chat_core::engine::Engine;
use chat_core::model::{DeviceId, EventBody, Note, Push, Registration, Secret, Source, UserName, UserRef};
use chat_core::store::MemoryStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(MemoryStore::new());
    let bus = Arc::new(MemoryBus::new());
    let here = Engine::builder(store.clone()).bus(bus.clone()).build().await?;
    let there = Engine::builder(store).bus(bus).build().await?;

    let mut ids = Vec::new();
    for name in ["alice", "bob"] {
        let name = UserName::parse(name)?;
        let registration = Registration::new(name, Secret::new("correct horse"));
        ids.push(here.register(Source::Local, registration).await?.id);
    }
    let (alice, bob) = (UserRef::Id(ids[0]), UserRef::Id(ids[1]));
    let at_here = here.session(ids[0], DeviceId::random()).await?;
    let at_there = there.session(ids[1], DeviceId::random()).await?;

    at_here.request_friend(bob.clone(), Note::new("hello")?).await?;
    at_there.answer_friend(alice, true).await?;
    at_here.send_text(bob, "across the bus").await?;

    while let Some(push) = at_there.next_push().await {
        if let Push::Event(event) = push
            && let EventBody::Message(message) = body::decode(event.kind, &event.body)?
        {
            println!("bob, on the other node, got {} as number {}", message.text, event.seq);
            break;
        }
    }
    drop((at_here, at_there));
    here.shutdown().await;
    there.shutdown().await;
    Ok(())
}
