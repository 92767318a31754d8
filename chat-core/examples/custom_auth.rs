//! An application with accounts of its own: its tokens log users in, and the first login creates
//! the account. `cargo run -p chat-core --example custom_auth`

use std::collections::HashMap;
use std::sync::Arc;

use chat_core::async_trait;
use chat_core::auth::{AuthError, AuthVerdict, Authenticator};
use chat_core::engine::Engine;
use chat_core::model::{DeviceId, DisplayName, Login, Secret, Source, UserName, UserRef};
use chat_core::store::MemoryStore;

/// Stands for the token table of the application. A real one compares in constant time and limits
/// attempts.
#[derive(Debug)]
struct ShopTokens {
    customers: HashMap<Vec<u8>, (&'static str, &'static str)>,
}

#[async_trait]
impl Authenticator for ShopTokens {
    async fn authenticate(&self, _source: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let Some((name, shown)) = self.customers.get(login.secret.expose()) else {
            return Ok(AuthVerdict::Denied);
        };
        // The token identifies the user; a login that claims another account is denied.
        let name = UserName::parse(name).expect("the shop's names are good names");
        if login.account != UserRef::Name(name.clone()) {
            return Ok(AuthVerdict::Denied);
        }
        Ok(AuthVerdict::Provision {
            name,
            display_name: DisplayName::parse(shown).ok(),
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let customers = HashMap::from([(b"token of alice".to_vec(), ("alice", "Alice, from the shop"))]);
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .authenticator(Arc::new(ShopTokens { customers }))
        .build()
        .await?;

    let login = |secret: &str| -> Result<Login, Box<dyn std::error::Error>> {
        Ok(Login::new(
            UserRef::Name(UserName::parse("alice")?),
            Secret::new(secret),
            DeviceId::random(),
        )
        .device_name("example"))
    };
    let admitted = engine.login(Source::Local, login("token of alice")?).await?;
    println!(
        "{} is {} with the id {}",
        admitted.user.name, admitted.user.display_name, admitted.user.id
    );
    let refused = engine.login(Source::Local, login("a guess")?).await;
    println!("a guess: {}", refused.expect_err("it is no token of the shop's"));
    engine.shutdown().await;
    Ok(())
}
