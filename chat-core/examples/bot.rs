//! A bot that echoes every message, over the network and through network failures. Start a server,
//! then run `CHAT_PASSWORD=… cargo run -p chat-core --example bot -- 127.0.0.1:7400 echo-bot`

use chat_core::client::{Client, ClientEvent, ClientOptions, Credentials, FileStore, ServerAddress};
use chat_core::commands::Commands;
use chat_core::model::{ConversationRef, EventBody, Secret, UserName, UserRef};
use chat_core::secure::Trust;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, name] = &arguments[..] else {
        return Err("usage: bot HOST:PORT NAME, with the password in CHAT_PASSWORD".into());
    };
    let account = UserRef::Name(UserName::parse(name)?);
    let secret = Secret::new(std::env::var("CHAT_PASSWORD")?);
    let credentials = Credentials::Password {
        account,
        secret,
        fresh: false,
    };
    let mut options = ClientOptions::new([server.parse::<ServerAddress>()?], credentials);
    options.trust = Trust::AcceptNew;
    options.device_name = "bot".into();

    // This directory keeps the cursors and the outbox over restarts.
    let client = Client::connect(options, FileStore::open(format!("{name}-profile"), "known_hosts")?).await?;
    let mut events = client.events().ok_or("the events were taken already")?;
    loop {
        let received = tokio::select! {
            received = events.next() => received,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(received) = received else { break };
        if let ClientEvent::Event(delivery) = &received.event
            && let EventBody::Message(message) = &delivery.body
            && !delivery.own
        {
            let there = ConversationRef::Id(delivery.conversation.id);
            client.send_text(there, &format!("you said: {}", message.text)).await?;
        }
        received.done();
    }
    client.close().await;
    Ok(())
}
