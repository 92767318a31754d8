//! Two nodes in one process: two engines on one store and one bus. A user of the first node writes
//! to a user whose client is connected to the second. In production, the store is
//! `chat_store_mysql::MysqlStore`, the bus is `chat_bus_redis::RedisBus`, and each node is a
//! process.
//!
//! Run it with `cargo run -p chat-examples --example two_nodes`.

use std::sync::Arc;
use std::time::Duration;

use chat_core::bus::MemoryBus;
use chat_core::client::{MemoryStore as ClientMemoryStore, Scheme};
use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_examples::{AnyError, events, next_text, register};

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let store = Arc::new(MemoryStore::new());
    let bus = Arc::new(MemoryBus::new());
    let first = Engine::builder(store.clone()).bus(bus.clone()).build().await?;
    let second = Engine::builder(store).bus(bus).build().await?;
    let server = Server::builder(second.clone())
        .plain("127.0.0.1:0".parse()?)
        .bind()
        .await?;

    let alice = register(&first, "alice").await?;
    let group = alice
        .create_group(NewGroup::new(GroupName::parse("general")?))
        .await?
        .id;

    let registration = Registration::new(UserName::parse("bob")?, Secret::new("battery staple"));
    let address = ServerAddress::parse(&server.addresses()[0].1.to_string(), Scheme::Plain)?;
    let options = ClientOptions::new([address], Credentials::Register(registration));
    let bob = Client::connect(options, ClientMemoryStore::default()).await?;
    let mut events = events(&bob)?;
    bob.join_group(group, Note::default()).await?;

    let sent = alice.send_text(group, "across the bus").await?;
    let text = next_text(&mut events).await?;
    println!("bob, at the second node, received {text:?} at position {}", sent.seq);
    assert_eq!(text, "across the bus");

    bob.close().await;
    server.drain(Duration::from_secs(5)).await;
    first.shutdown().await;
    second.shutdown().await;
    Ok(())
}
