//! Users log in to the engine with a JWT that the application issued. The first login creates the
//! account.
//!
//! Run it with `cargo run -p chat-examples --example jwt_login`.

use std::sync::Arc;
use std::time::Duration;

use chat_core::auth::{AuthError, AuthVerdict, Authenticator, ExternalLogin, Profile, Subject};
use chat_core::client::Scheme;
use chat_core::model::{Login, Timestamp};
use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_examples::{AnyError, connect};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Content of a token of the application.
#[derive(Serialize, Deserialize)]
struct Claims {
    /// Id of the user in the application.
    sub: String,
    /// Display name of the user.
    name: String,
    /// Time of expiry, in seconds since 1970.
    exp: u64,
}

/// Authenticator that accepts a valid token in place of a password.
#[derive(Debug)]
struct JwtLogin {
    key: DecodingKey,
    rules: Validation,
}

#[async_trait]
impl Authenticator for JwtLogin {
    async fn authenticate(&self, _source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let token = jsonwebtoken::decode::<Claims>(login.secret.expose(), &self.key, &self.rules);
        let Ok(token) = token else {
            return Ok(AuthVerdict::Denied);
        };
        let Ok(subject) = Subject::new(token.claims.sub) else {
            return Ok(AuthVerdict::Denied);
        };
        // The token determines the account and when the login expires. Its `name` matters only for
        // the first login, which creates the account.
        let mut login = ExternalLogin::new(subject);
        login.profile.display_name = DisplayName::parse(&token.claims.name).ok();
        login.profile.name_hint = Some(token.claims.name);
        login.expires_at = Some(Timestamp::from_unix_seconds(token.claims.exp));
        Ok(AuthVerdict::External(login))
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let secret = b"a secret that only the application knows";
    let login = JwtLogin {
        key: DecodingKey::from_secret(secret)?,
        rules: Validation::default(),
    };
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .authenticator(Arc::new(login))
        .build()
        .await?;
    let server = Server::builder(engine.clone())
        .plain("127.0.0.1:0".parse()?)
        .bind()
        .await?;
    let address = ServerAddress::parse(&server.addresses()[0].1.to_string(), Scheme::Plain)?;

    let claims = Claims {
        sub: "auth0|64f1c2".to_owned(),
        name: "Alice Liddell".to_owned(),
        exp: jsonwebtoken::get_current_timestamp() + 3600,
    };
    let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret)?)?;
    let client = connect(&address, &token).await?;
    let user = client.me().ok_or("the client has no user")?;
    println!("{} logged in as {}, account {}", user.display_name, user.name, user.id);
    assert_eq!((&*user.name, &*user.display_name), ("alice-liddell", "Alice Liddell"));

    // The application reaches the same account by the subject, with or without a login.
    let known = engine
        .provision(Subject::new("auth0|64f1c2")?, Profile::default())
        .await?;
    assert_eq!(known.id, user.id);

    let refused = connect(&address, "a guess").await;
    println!("a guess: {}", refused.expect_err("a guess is not a valid token"));

    client.close().await;
    server.drain(Duration::from_secs(5)).await;
    engine.shutdown().await;
    Ok(())
}
