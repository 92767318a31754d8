//! Accounts for the users of an application, who are known by subjects of any form. An account is
//! created before the user's first login or at it, and a deleted user gets no new account until an
//! operator allows it.
//!
//! Run it with `cargo run -p chat-examples --example provisioning`.

use std::sync::Arc;
use std::time::Duration;

use chat_core::auth::{ExternalLogin, Profile, Subject, TokenAuthenticator};
use chat_core::client::Scheme;
use chat_core::engine::operator::DeletionOptions;
use chat_core::prelude::*;
use chat_core::store::MemoryStore;
use chat_examples::{AnyError, connect};

/// Returns the login for which a token was issued. A real application verifies a signature here;
/// see `jwt_login`.
fn verify(token: &[u8]) -> Option<ExternalLogin> {
    let subject = std::str::from_utf8(token).ok()?.strip_prefix("token of ")?;
    Subject::new(subject).ok().map(ExternalLogin::new)
}

/// Creates the account of a user who has not logged in yet, or finds it.
async fn provision(engine: &Engine, subject: &str, name: &str) -> Result<UserInfo, AnyError> {
    let mut profile = Profile::default();
    profile.name_hint = Some(name.to_owned());
    profile.display_name = DisplayName::parse(name).ok();
    Ok(engine.provision(Subject::new(subject)?, profile).await?)
}

/// Logs the user in with a chat client, and returns the user's account.
async fn log_in(server: &ServerAddress, subject: &str) -> Result<UserInfo, ClientError> {
    let client = connect(server, &format!("token of {subject}")).await?;
    let user = client.me().expect("a client that has logged in has a user");
    client.close().await;
    Ok(user)
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .authenticator(Arc::new(TokenAuthenticator::new(verify)))
        .build()
        .await?;
    let server = Server::builder(engine.clone())
        .plain("127.0.0.1:0".parse()?)
        .bind()
        .await?;
    let address = ServerAddress::parse(&server.addresses()[0].1.to_string(), Scheme::Plain)?;

    // Before the first login: the application can act for the user at once.
    let alice = provision(&engine, "auth0|64f1c2", "Alice Liddell").await?;
    let bob = provision(&engine, "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "Bob").await?;
    println!(
        "{} is {}, and {} is {}",
        alice.display_name, alice.name, bob.display_name, bob.name
    );
    assert_eq!((&*alice.name, &*bob.name), ("alice-liddell", "bob"));
    let group = NewGroup::new(GroupName::parse("general")?);
    engine.acting_as(alice.id).create_group(group).await?;
    assert_eq!(log_in(&address, "auth0|64f1c2").await?.id, alice.id);

    // At the first login: the account is found by the same subject afterwards.
    let carol = log_in(&address, "carol@example.org").await?;
    println!(
        "the first login of carol@example.org created the account {}",
        carol.name
    );
    assert_eq!(provision(&engine, "carol@example.org", "Carol").await?.id, carol.id);

    // The deleted account keeps a digest of its subject, so that a login does not create a new one.
    let operator = engine.operator(OperatorName::new("shop")?);
    operator.delete_account(carol.id, DeletionOptions::default()).await?;
    let refused = log_in(&address, "carol@example.org")
        .await
        .expect_err("the account is deleted");
    println!("a later login of carol@example.org: {refused}");
    assert_eq!(refused.code(), Some(ReplyCode::AccountDisabled));
    operator.free_subject(Subject::new("carol@example.org")?).await?;
    let returned = log_in(&address, "carol@example.org").await?;
    println!("after the operator freed the subject, the account is {}", returned.name);
    assert_ne!(returned.id, carol.id);

    server.drain(Duration::from_secs(5)).await;
    engine.shutdown().await;
    Ok(())
}
