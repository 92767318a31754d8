//! A server that listens on a port, and a bot that connects to it as a separate program would. The
//! bot answers every message, and continues where it stopped after a network failure. After a
//! restart, a bot logs in with `Credentials::Stored` instead of creating an account, and then
//! continues where it stopped too.
//!
//! For simplicity, this one program runs the server, the bot and a user who writes to the bot.
//!
//! Run it with `cargo run -p chat-examples --example remote_bot`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat_core::client::{Events, Scheme};
use chat_core::prelude::*;
use chat_examples::{AnyError, events, next_text};
use chat_store_sqlite::{Options, SqliteStore};

/// Answers messages until the client is closed.
async fn answer(bot: Client, mut events: Events) -> Result<(), AnyError> {
    while let Some(received) = events.next().await {
        if let ClientEvent::Event(delivery) = &received.event
            && let EventBody::Message(message) = &delivery.body
            && !delivery.is_from_this_device
        {
            let text = format!("you said: {}", message.text);
            bot.send_text(delivery.conversation.id, &text).await?;
        }
        // Moves the bot's cursor, which its directory stores, past the event: the bot does not
        // receive the event again, unless it crashes before the cursor is saved (at most 100 ms
        // later).
        received.done();
    }
    Ok(())
}

/// Creates an account and connects to the server as its user. `directory` keeps the session
/// token, the cursors and the messages that wait to be sent.
async fn connect(server: &ServerAddress, name: &str, directory: &Path) -> Result<Client, AnyError> {
    let registration = Registration::new(UserName::parse(name)?, Secret::new("correct horse"));
    let options = ClientOptions::new([server.clone()], Credentials::Register(registration));
    let store = FileStore::open(directory.join(name), directory.join("known_hosts"))?;
    Ok(Client::connect(options, store).await?)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let data = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(data.path().join("server"), Options::default()).await?);
    let engine = Engine::builder(store).build().await?;
    // This listener is not encrypted; `sc1` and `tls` add encrypted ones.
    let server = Server::builder(engine.clone())
        .plain("127.0.0.1:0".parse()?)
        .bind()
        .await?;
    let address = ServerAddress::parse(&server.addresses()[0].1.to_string(), Scheme::Plain)?;

    let bot = connect(&address, "echo", data.path()).await?;
    let answering = tokio::spawn(answer(bot.clone(), events(&bot)?));
    let alice = connect(&address, "alice", data.path()).await?;
    let mut events = events(&alice)?;

    let group = bot.create_group(NewGroup::new(GroupName::parse("general")?)).await?.id;
    alice.join_group(group, Note::default()).await?;
    alice.send_text(group, "good morning").await?;
    let text = next_text(&mut events).await?;
    println!("the bot answered: {text}");
    assert_eq!(text, "you said: good morning");

    alice.close().await;
    bot.close().await;
    answering.await??;
    server.drain(Duration::from_secs(5)).await;
    engine.shutdown().await;
    Ok(())
}
