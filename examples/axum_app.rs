//! Chat inside an axum application that has its own login:
//!
//! - `POST /login` issues a JWT to the user.
//! - `GET /conversations` lists the user's conversations with their unread counts.
//! - `POST /conversations/{id}/messages` posts a message as the user.
//! - `/chat` is a WebSocket for chat clients, which log in with the same JWT.
//!
//! The program starts the application on a free port, sends it requests, and exits.
//!
//! Run it with `cargo run -p chat-examples --example axum_app`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRef, Path, State};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use chat_core::auth::{Profile, Subject};
use chat_core::client::{Endpoint, MemoryStore as ClientMemoryStore, Scheme};
use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_core::transport::MessageStream;
use chat_examples::web::{CurrentUser, Refused, Tokens, request};
use chat_examples::{AnyError, WebSocketDial, events, next_text};
use serde_json::json;

/// State that the handlers share.
#[derive(Clone)]
struct App {
    engine: Engine,
    server: Arc<Server>,
    tokens: Tokens,
}

impl FromRef<App> for Tokens {
    fn from_ref(app: &App) -> Self {
        app.tokens.clone()
    }
}

/// Logs a user in to the application. A real application checks a password here.
async fn log_in(State(app): State<App>, Json(name): Json<String>) -> Result<Json<String>, Refused> {
    let mut profile = Profile::default();
    profile.name_hint = Some(name.clone());
    let subject = Subject::new(name).map_err(AnyError::from)?;
    let user = app.engine.provision(subject, profile).await?;
    Ok(Json(app.tokens.issue(user.id)?))
}

async fn conversations(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Vec<ConversationInfo>>, Refused> {
    Ok(Json(app.engine.acting_as(user).conversations().await?))
}

async fn post_message(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    Path(conversation): Path<ConversationId>,
    Json(text): Json<String>,
) -> Result<Json<Appended>, Refused> {
    Ok(Json(app.engine.acting_as(user).send_text(conversation, &text).await?))
}

/// Serves a chat client: binary messages carry the packets of the protocol.
async fn chat(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |socket| {
        let payload = |message| match message {
            Message::Binary(bytes) => Some(bytes),
            _ => None,
        };
        let stream = MessageStream::from_socket(socket, payload, Message::Binary);
        app.server.serve_stream(stream, peer.into())
    })
}

/// Starts the application on a free port.
async fn start() -> Result<(App, SocketAddr), AnyError> {
    let tokens = Tokens::new("a secret that only the application knows")?;
    let builder = Engine::builder(Arc::new(MemoryStore::new()));
    let engine = builder.authenticator(Arc::new(tokens.clone())).build().await?;
    // The server needs no listener: it serves the WebSockets that axum accepts.
    let server = Arc::new(Server::builder(engine.clone()).bind().await?);
    let app = App { engine, server, tokens };
    let router = Router::new()
        .route("/login", post(log_in))
        .route("/conversations", get(conversations))
        .route("/conversations/{id}/messages", post(post_message))
        .route("/chat", any(chat))
        .with_state(app.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((app, address))
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let (app, address) = start().await?;
    let (_, alice_token) = request(address, "POST /login", "", json!("alice")).await?;
    let (_, bob_token) = request(address, "POST /login", "", json!("bob")).await?;
    let (alice_token, bob_token) = (alice_token.as_str().unwrap_or(""), bob_token.as_str().unwrap_or(""));

    // Alice has a chat client, which connects through the WebSocket.
    let client = chat_client(address, alice_token).await?;
    let mut events = events(&client)?;
    let group = NewGroup::new(GroupName::parse("general")?);
    let group = client.create_group(group).await?.id;

    // Bob uses the application without a chat client.
    let bob = app
        .engine
        .acting_as(app.tokens.user(bob_token).ok_or("the token is not valid")?);
    bob.join_group(group, Note::default()).await?;
    let path = format!("POST /conversations/{group}/messages");
    let (status, posted) = request(address, &path, bob_token, json!("hello from the web")).await?;
    println!("bob posted: {status} {posted}");
    assert_eq!(status, 200);
    let text = next_text(&mut events).await?;
    println!("alice received: {text}");
    assert_eq!(text, "hello from the web");

    client.send_text(group, "hello from the phone").await?;
    let (_, listed) = request(address, "GET /conversations", bob_token, json!(null)).await?;
    for conversation in listed.as_array().into_iter().flatten() {
        println!(
            "bob has {} unread in conversation {}",
            conversation["unread"], conversation["id"]
        );
    }
    let (status, refusal) = request(address, "POST /conversations/4711/messages", bob_token, json!("?")).await?;
    println!("bob posted to an unknown conversation: {status} {refusal}");
    assert_eq!(status, 404);
    let (status, _) = request(address, "GET /conversations", "a guess", json!(null)).await?;
    assert_eq!(status, 401);

    client.close().await;
    app.server.drain(Duration::from_secs(5)).await;
    app.engine.shutdown().await;
    Ok(())
}

/// Connects a chat client, which logs in with a token of the application.
async fn chat_client(address: SocketAddr, token: &str) -> Result<Client, AnyError> {
    let credentials = Credentials::Token {
        token: Secret::new(token),
        fresh: false,
    };
    let endpoint = Endpoint::new(ServerAddress::parse("app", Scheme::Plain)?, WebSocketDial(address));
    let options = ClientOptions::new([endpoint], credentials);
    Ok(Client::connect(options, ClientMemoryStore::default()).await?)
}
