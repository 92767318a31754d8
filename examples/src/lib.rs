//! Helpers of the examples: an HTTP client, a dialer for chat over a WebSocket, and functions that
//! several examples call.

pub mod http;

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use chat_core::client::{Dial, Events, MemoryStore as ClientMemoryStore};
use chat_core::prelude::*;
use chat_core::transport::{MessageStream, Stream, Transport};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// Any error. An error ends the example.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Creates an account, and returns the handle by which the application acts for its user.
///
/// # Errors
/// The name is invalid or taken, or the engine cannot serve the request.
pub async fn register(engine: &Engine, name: &str) -> Result<ActingAs, AnyError> {
    let registration = Registration::new(UserName::parse(name)?, Secret::new("correct horse"));
    let user = engine.register(Source::Local, registration).await?;
    Ok(engine.acting_as(user.id))
}

/// Creates an open group in which `owner` and `member` are the members.
///
/// # Errors
/// The name is invalid or taken, or the engine cannot serve the request.
pub async fn group_of(name: &str, owner: &ActingAs, member: &ActingAs) -> Result<ConversationId, AnyError> {
    let group = owner.create_group(NewGroup::new(GroupName::parse(name)?)).await?.id;
    member.join_group(group, Note::default()).await?;
    Ok(group)
}

/// Connects a chat client that logs in with `token`. Gives up after the first failure.
///
/// # Errors
/// The server cannot be reached, or refuses the token.
pub async fn connect(server: &ServerAddress, token: &str) -> Result<Client, ClientError> {
    let credentials = Credentials::Token {
        token: Secret::new(token),
        fresh: true,
    };
    let mut options = ClientOptions::new([server.clone()], credentials);
    options.max_rounds = Some(1);
    Client::connect(options, ClientMemoryStore::default()).await
}

/// Dialer that connects a chat client through a WebSocket at `/chat` of the server at this address,
/// without encryption.
#[derive(Debug)]
pub struct WebSocketDial(pub SocketAddr);

#[async_trait]
impl Dial for WebSocketDial {
    async fn dial(&self) -> io::Result<Box<dyn Transport>> {
        let Self(server) = *self;
        let stream = TcpStream::connect(server).await?;
        let connected = tokio_tungstenite::client_async(format!("ws://{server}/chat"), stream).await;
        let (socket, _response) = connected.map_err(io::Error::other)?;
        let payload = |message| match message {
            Message::Binary(bytes) => Some(bytes),
            _ => None,
        };
        let stream = MessageStream::from_socket(socket, payload, Message::Binary);
        Ok(Box::new(Stream::new(stream, server.into())))
    }
}

/// Returns the stream of the client's events, which can be taken once.
///
/// # Errors
/// The events were taken before.
pub fn events(client: &Client) -> Result<Events, AnyError> {
    client.events().ok_or_else(|| "the events were taken before".into())
}

/// Returns the text of the next message that the client's device did not send. Acknowledges it and
/// all events before it.
///
/// # Errors
/// The client ended before a message arrived.
pub async fn next_text(events: &mut Events) -> Result<String, AnyError> {
    while let Some(received) = events.next().await {
        received.done();
        if let ClientEvent::Event(delivery) = received.event
            && let EventBody::Message(message) = delivery.body
            && !delivery.is_from_this_device
        {
            return Ok(message.text);
        }
    }
    Err("the client was closed before a message arrived".into())
}

/// Compiles the programs in the documentation.
#[cfg(doctest)]
mod documentation {
    #[doc = include_str!("../../docs/embedding.md")]
    struct Embedding;
}
