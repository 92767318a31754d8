//! The parts of a web application around the chat engine: its tokens, with which chat clients log
//! in too, its error responses, and an HTTP client.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use chat_core::auth::{AccountLogin, AuthError, AuthVerdict, Authenticator};
use chat_core::engine::CommandError;
use chat_core::model::{Login, Source, Timestamp, UserId};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::AnyError;

/// Signer and verifier of the JWTs of an application.
#[derive(Clone)]
pub struct Tokens(EncodingKey, DecodingKey);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(***)")
    }
}

/// Content of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    user: UserId,
    /// Time of expiry, in seconds since 1970.
    exp: u64,
}

impl Tokens {
    /// Creates a signer and verifier with `secret`, which only the application may know.
    ///
    /// # Errors
    /// The secret is not usable as a key.
    pub fn new(secret: &str) -> Result<Self, AnyError> {
        let secret = secret.as_bytes();
        Ok(Self(
            EncodingKey::from_secret(secret)?,
            DecodingKey::from_secret(secret)?,
        ))
    }

    /// Returns a token for `user` that expires after an hour.
    ///
    /// # Errors
    /// The token cannot be signed.
    pub fn issue(&self, user: UserId) -> Result<String, AnyError> {
        let exp = jsonwebtoken::get_current_timestamp() + 3600;
        Ok(jsonwebtoken::encode(
            &Header::default(),
            &Claims { user, exp },
            &self.0,
        )?)
    }

    /// Returns the user for whom `token` was issued, or `None` if it is invalid or has expired.
    #[must_use]
    pub fn user(&self, token: impl AsRef<[u8]>) -> Option<UserId> {
        self.claims(token).map(|claims| claims.user)
    }

    fn claims(&self, token: impl AsRef<[u8]>) -> Option<Claims> {
        let token = jsonwebtoken::decode::<Claims>(token, &self.1, &Validation::default());
        token.ok().map(|token| token.claims)
    }
}

/// Chat clients log in with the application's token. Their sessions end when it expires.
#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let Some(claims) = self.claims(login.secret.expose()) else {
            return Ok(AuthVerdict::Denied);
        };
        let mut login = AccountLogin::new(claims.user);
        login.expires_at = Some(Timestamp::from_unix_seconds(claims.exp));
        Ok(AuthVerdict::Account(login))
    }
}

/// User for whom the bearer token of a request was issued.
#[derive(Clone, Copy, Debug)]
pub struct CurrentUser(pub UserId);

impl<App: Send + Sync> FromRequestParts<App> for CurrentUser
where
    Tokens: FromRef<App>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let user = token.and_then(|token| Tokens::from_ref(app).user(token));
        user.map(Self).ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// HTTP response to a request that was refused or failed: status and text.
#[derive(Debug)]
pub struct Refused(StatusCode, String);

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        let status = StatusCode::from_u16(error.code.http_status()).unwrap_or_default();
        Self(status, error.text.into_owned())
    }
}

/// Errors of the application itself have status 500.
impl From<AnyError> for Refused {
    fn from(error: AnyError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

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
