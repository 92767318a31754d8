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

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Path, State};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use chat_core::async_trait;
use chat_core::auth::{AuthError, AuthVerdict, Authenticator, Proof};
use chat_core::client::{Endpoint, MemoryStore as ClientMemoryStore, Scheme};
use chat_core::engine::operator::{CreateAccount, OperatorName};
use chat_core::model::Login;
use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_core::transport::MessageStream;
use chat_examples::{AnyError, WebSocketDial, events, next_text, request};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// State that every handler needs.
#[derive(Clone)]
struct App {
    engine: Engine,
    server: Arc<Server>,
    tokens: Arc<Tokens>,
    /// Accounts of the customers, by name.
    accounts: Arc<HashMap<String, UserId>>,
}

/// Signs and checks the tokens of the application.
#[derive(Debug)]
struct Tokens(EncodingKey, DecodingKey);

#[derive(Serialize, Deserialize)]
struct Claims {
    user: UserId,
    exp: u64,
}

impl Tokens {
    fn user(&self, token: impl AsRef<[u8]>) -> Option<UserId> {
        let token = jsonwebtoken::decode::<Claims>(token, &self.1, &Validation::default());
        token.ok().map(|token| token.claims.user)
    }
}

/// Lets chat clients log in with the application's token.
#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let user = self.user(login.secret.expose());
        Ok(user.map_or(AuthVerdict::Denied, |user| AuthVerdict::Account(user, Proof::External)))
    }
}

/// The user whom the token of a request identifies.
struct CurrentUser(UserId);

impl FromRequestParts<App> for CurrentUser {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let user = token.and_then(|token| app.tokens.user(token));
        user.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// The engine's refusal as an HTTP response.
struct Refused(CommandError);

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or_default();
        (status, self.0.text).into_response()
    }
}

#[derive(Deserialize)]
struct Customer {
    name: String,
}

/// Logs a customer in to the application. A real application checks a password here.
async fn log_in(State(app): State<App>, Json(customer): Json<Customer>) -> Result<Json<String>, StatusCode> {
    let user = *app.accounts.get(&customer.name).ok_or(StatusCode::UNAUTHORIZED)?;
    let exp = jsonwebtoken::get_current_timestamp() + 3600;
    let token = jsonwebtoken::encode(&Header::default(), &Claims { user, exp }, &app.tokens.0);
    token.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn conversations(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
) -> Result<Json<Vec<ConversationInfo>>, Refused> {
    Ok(Json(app.engine.acting_as(user).conversations().await?))
}

#[derive(Deserialize)]
struct NewMessage {
    text: String,
}

async fn post_message(
    State(app): State<App>,
    CurrentUser(user): CurrentUser,
    Path(conversation): Path<ConversationId>,
    Json(message): Json<NewMessage>,
) -> Result<Json<Appended>, Refused> {
    let user = app.engine.acting_as(user);
    Ok(Json(user.send_text(conversation, &message.text).await?))
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

/// Creates an account without a password for each customer.
async fn create_accounts(engine: &Engine) -> Result<HashMap<String, UserId>, AnyError> {
    let operator = engine.operator(OperatorName::new("shop")?);
    let mut accounts = HashMap::new();
    for name in ["alice", "bob"] {
        let account = CreateAccount::new(UserName::parse(name)?);
        let account = operator.create_account(account).await?;
        accounts.insert(account.name, account.id);
    }
    Ok(accounts)
}

async fn start() -> Result<(App, SocketAddr), AnyError> {
    let secret = "a secret that only the application knows";
    let tokens = Arc::new(Tokens(
        EncodingKey::from_secret(secret.as_bytes())?,
        DecodingKey::from_secret(secret.as_bytes())?,
    ));
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .authenticator(tokens.clone())
        .build()
        .await?;
    let accounts = Arc::new(create_accounts(&engine).await?);
    // The server needs no listener: it serves the WebSockets that axum accepts.
    let server = Arc::new(Server::builder(engine.clone()).bind().await?);
    let app = App {
        engine,
        server,
        tokens,
        accounts,
    };
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
    let (_, alice_token) = request(address, "POST /login", "", json!({ "name": "alice" })).await?;
    let (_, bob_token) = request(address, "POST /login", "", json!({ "name": "bob" })).await?;
    let (alice_token, bob_token) = (alice_token.as_str().unwrap_or(""), bob_token.as_str().unwrap_or(""));

    // Alice has a chat client, which connects through the WebSocket.
    let credentials = Credentials::Password {
        account: UserName::parse("alice")?.into(),
        secret: Secret::new(alice_token),
        fresh: false,
    };
    let endpoint = Endpoint::new(ServerAddress::parse("app", Scheme::Plain)?, WebSocketDial(address));
    let options = ClientOptions::new([endpoint], credentials);
    let client = Client::connect(options, ClientMemoryStore::default()).await?;
    let mut events = events(&client)?;
    let group = client
        .create_group(NewGroup::new(GroupName::parse("general")?))
        .await?
        .id;

    // Bob uses the application without a chat client.
    let bob = app
        .engine
        .acting_as(app.tokens.user(bob_token).ok_or("the token is not valid")?);
    bob.join_group(group, Note::default()).await?;
    let path = format!("POST /conversations/{group}/messages");
    let (status, posted) = request(address, &path, bob_token, json!({ "text": "hello from the web" })).await?;
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
    let (status, refusal) = request(
        address,
        "POST /conversations/4711/messages",
        bob_token,
        json!({ "text": "?" }),
    )
    .await?;
    println!("bob posted to an unknown conversation: {status} {refusal}");
    assert_eq!(status, 404);
    let (status, _) = request(address, "GET /conversations", "a guess", json!(null)).await?;
    assert_eq!(status, 401);

    client.close().await;
    app.server.drain(Duration::from_secs(5)).await;
    app.engine.shutdown().await;
    Ok(())
}
