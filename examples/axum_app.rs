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
use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Json, Router};
use chat_core::auth::{AccountLogin, Profile, Subject, TokenAuthenticator};
use chat_core::client::{Endpoint, MemoryStore as ClientMemoryStore, Scheme};
use chat_core::model::Timestamp;
use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_core::transport::MessageStream;
use chat_examples::http::request;
use chat_examples::{AnyError, WebSocketDial, events, next_text};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

const SECRET: &[u8] = b"a secret that only the application knows";

/// Content of a token of the application.
#[derive(Serialize, Deserialize)]
struct Claims {
    user: UserId,
    /// Time of expiry, in seconds since 1970.
    exp: u64,
}

/// Returns the login that a token stands for, or `None` if the token is invalid or has expired. The
/// session of a chat client ends when its token expires.
fn verify(token: &[u8]) -> Option<AccountLogin> {
    let key = DecodingKey::from_secret(SECRET).ok()?;
    let token = decode::<Claims>(token, &key, &Validation::default()).ok()?;
    let mut login = AccountLogin::new(token.claims.user);
    login.expires_at = Some(Timestamp::from_unix_seconds(token.claims.exp));
    Some(login)
}

/// The user for whom the bearer token of a request was issued.
struct CurrentUser(ActingAs);

impl FromRequestParts<Engine> for CurrentUser {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, engine: &Engine) -> Result<Self, StatusCode> {
        let header = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let login = header.and_then(|value| verify(value.strip_prefix(b"Bearer ")?));
        let user = login.map(|login| engine.acting_as(login.user));
        user.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

type Answer<T> = Result<Json<T>, (StatusCode, String)>;

/// Returns the status and the text of the response to a request that the engine refused.
fn refused(error: CommandError) -> (StatusCode, String) {
    let status = StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, error.text.into_owned())
}

/// Logs a user in to the application. A real application checks a password here.
async fn log_in(State(engine): State<Engine>, Json(name): Json<String>) -> Answer<String> {
    let subject = Subject::new(name).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let user = engine.provision(subject, Profile::default()).await.map_err(refused)?.id;
    let exp = jsonwebtoken::get_current_timestamp() + 3600;
    let jwt = EncodingKey::from_secret(SECRET).and_then(|key| encode(&Header::default(), &Claims { user, exp }, &key));
    Ok(Json(jwt.expect("the secret can sign any claims")))
}

async fn conversations(user: CurrentUser) -> Answer<Vec<ConversationInfo>> {
    user.0.conversations().await.map(Json).map_err(refused)
}

async fn post_text(user: CurrentUser, Path(id): Path<ConversationId>, Json(text): Json<String>) -> Answer<Appended> {
    user.0.send_text(id, &text).await.map(Json).map_err(refused)
}

/// Serves a chat client: binary messages carry the packets of the protocol.
async fn chat(server: State<Arc<Server>>, peer: ConnectInfo<SocketAddr>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| {
        let payload = |message| match message {
            Message::Binary(bytes) => Some(bytes),
            _ => None,
        };
        let stream = MessageStream::from_socket(socket, payload, Message::Binary);
        server.serve_stream(stream, peer.0.into())
    })
}

fn routes(engine: Engine, server: Arc<Server>) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route("/conversations", get(conversations))
        .route("/conversations/{id}/messages", post(post_text))
        .route("/chat", any(chat).with_state(server))
        .with_state(engine)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .authenticator(Arc::new(TokenAuthenticator::new(verify)))
        .build()
        .await?;
    // The server needs no listener: it serves the WebSockets that axum accepts.
    let server = Arc::new(Server::builder(engine.clone()).bind().await?);
    let routes = routes(engine.clone(), Arc::clone(&server)).into_make_service_with_connect_info::<SocketAddr>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });

    let (_, alice_token) = request(address, "POST /login", "", json!("alice")).await?;
    let (_, bob_token) = request(address, "POST /login", "", json!("bob")).await?;
    let (alice_token, bob_token) = (alice_token.as_str().unwrap_or(""), bob_token.as_str().unwrap_or(""));

    // Alice has a chat client, which connects through the WebSocket.
    let client = chat_client(address, alice_token).await?;
    let mut events = events(&client)?;
    let group = NewGroup::new(GroupName::parse("general")?);
    let group = client.create_group(group).await?.id;

    // Bob uses the application without a chat client.
    let bob = verify(bob_token.as_bytes()).ok_or("the token is not valid")?.user;
    engine.acting_as(bob).join_group(group, Note::default()).await?;
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
    server.drain(Duration::from_secs(5)).await;
    engine.shutdown().await;
    Ok(())
}

/// Connects a chat client, which logs in with a token of the application.
async fn chat_client(address: SocketAddr, token: &str) -> Result<Client, AnyError> {
    let credentials = Credentials::Token {
        token: Secret::new(token),
        fresh: false,
    };
    // `WebSocketDial` connects to `address`; "app" is only a name of the server.
    let endpoint = Endpoint::new(ServerAddress::parse("app", Scheme::Plain)?, WebSocketDial(address));
    let options = ClientOptions::new([endpoint], credentials);
    Ok(Client::connect(options, ClientMemoryStore::default()).await?)
}
