//! Helpers of the examples: a small HTTP client, a dialer for chat over a WebSocket, and access to
//! the events of a client.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use chat_core::client::{Client, ClientEvent, Dial, Events};
use chat_core::model::EventBody;
use chat_core::transport::{MessageStream, Stream, Transport};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

/// Any error; it ends the example.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Sends a request with a JSON body and the bearer token `token` to a server on this machine.
/// Returns the status and the JSON of the response. A response that is not JSON is returned as a
/// JSON string.
///
/// # Errors
/// The server cannot be reached, or its response cannot be read.
pub async fn request(
    server: SocketAddr,
    method_and_path: &str,
    token: &str,
    body: Value,
) -> Result<(u16, Value), AnyError> {
    let body = body.to_string();
    let request = format!(
        "{method_and_path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let (head, body) = response
        .split_once("\r\n\r\n")
        .ok_or("the response has no end of headers")?;
    let status = head.split(' ').nth(1).ok_or("the response has no status")?.parse()?;
    Ok((status, serde_json::from_str(body).unwrap_or_else(|_| Value::from(body))))
}

/// Dialer that connects a chat client through a WebSocket at `/chat` of a server on this machine.
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

/// Returns the events of a client.
///
/// # Errors
/// The events were taken before.
pub fn events(client: &Client) -> Result<Events, AnyError> {
    client.events().ok_or_else(|| "the events were taken before".into())
}

/// Returns the text of the next message that another device sent, and acknowledges it.
///
/// # Errors
/// The client was closed before a message arrived.
pub async fn next_text(events: &mut Events) -> Result<String, AnyError> {
    while let Some(received) = events.next().await {
        received.done();
        if let ClientEvent::Event(delivery) = received.event
            && let EventBody::Message(message) = delivery.body
            && !delivery.own
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
