//! Tests of the engine through its public API only, as an application uses it.

#![allow(clippy::unwrap_used)] // tests

use std::sync::Arc;
use std::time::Duration;

use chat_core::auth::{AuthError, AuthVerdict, Authenticator, ExternalLogin, PasswordCost, Subject, ThrottleOptions};
use chat_core::bus::MemoryBus;
use chat_core::cluster::MemoryPresence;
use chat_core::commands::Commands;
use chat_core::engine::{Engine, EngineConfig, LocalSession};
use chat_core::model::{
    ConversationRef, DeviceId, DirectPolicy, EventKind, Login, ProfileChanges, Push, Registration, Secret, Seq, Source,
    UserId, UserName, UserRef,
};
use chat_core::service::ChatService as _;
use chat_core::store::{MemoryStore, Store};
use chat_core::testkit::LossyBus;

fn config() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.passwords.cost = PasswordCost::danger_cheap();
    config.throttle = ThrottleOptions::danger_unlimited();
    config
}

async fn register(engine: &Engine, name: &str) -> UserId {
    let registration = Registration::new(UserName::parse(name).unwrap(), Secret::new("correct horse"));
    engine.register(Source::Local, registration).await.unwrap().id
}

/// Returns a reference to the caller's direct conversation with the user of `session`.
fn direct(session: &LocalSession) -> ConversationRef {
    ConversationRef::Direct(UserRef::Id(session.caller().user))
}

/// Waits for the next message of a session, and returns its sequence number.
async fn next_message(session: &LocalSession) -> Seq {
    let wait = async {
        loop {
            match session.next_push().await.expect("the session continues") {
                Push::Event(event) if event.kind == EventKind::Message => return event.seq,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("a message arrives in time")
}

/// The bus of the two nodes drops 30 % of the envelopes and duplicates 10 %.
#[tokio::test]
async fn nodes_deliver_once_and_in_order_over_a_lossy_bus() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bus = Arc::new(LossyBus::new(Arc::new(MemoryBus::new()), 7, 300, 100));
    let presence = Arc::new(MemoryPresence::new());
    let node = async || {
        let builder = Engine::builder(store.clone()).config(config());
        builder
            .bus(bus.clone())
            .presence(presence.clone())
            .build()
            .await
            .unwrap()
    };
    let (first_node, second_node) = (node().await, node().await);
    let alice = first_node
        .session(register(&first_node, "alice").await, DeviceId::random())
        .await
        .unwrap();
    let bob = second_node
        .session(register(&second_node, "bob").await, DeviceId::random())
        .await
        .unwrap();
    for session in [&alice, &bob] {
        let mut changes = ProfileChanges::default();
        changes.direct_policy = Some(DirectPolicy::Everyone);
        session.update_profile(changes).await.unwrap();
    }
    alice.send_text(direct(&bob), "first message").await.unwrap();
    for session in [&alice, &bob] {
        assert_eq!(next_message(session).await, Seq(1));
    }
    for number in 0..100 {
        let (from, to) = if number % 3 == 0 {
            (&bob, &alice)
        } else {
            (&alice, &bob)
        };
        from.send_text(direct(to), &number.to_string()).await.unwrap();
    }
    for session in [&alice, &bob] {
        for seq in 2..=101 {
            assert_eq!(next_message(session).await, Seq(seq));
        }
    }
    assert!(bus.dropped() > 0);
    first_node.shutdown().await;
    second_node.shutdown().await;
}

/// Authenticator that accepts tokens of the form `user:NAME`.
#[derive(Debug)]
struct Tokens;

#[chat_core::async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, _: Source, login: &Login) -> Result<AuthVerdict, AuthError> {
        let token = std::str::from_utf8(login.secret.expose()).unwrap_or_default();
        match token.strip_prefix("user:").map(|name| (name, Subject::new(token))) {
            Some((name, Ok(subject))) => {
                let mut login = ExternalLogin::new(subject);
                login.profile.name_hint = Some(name.to_owned());
                Ok(AuthVerdict::External(login))
            }
            _ => Ok(AuthVerdict::Denied),
        }
    }
}

#[tokio::test]
async fn authenticator_of_the_application_decides_logins() {
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .authenticator(Arc::new(Tokens))
        .build()
        .await
        .unwrap();
    let login = |secret: &str| Login::with_token(Secret::new(secret), DeviceId::random());
    let grant = engine.login(Source::Local, login("user:alice")).await.unwrap();
    assert_eq!(grant.user.name, "alice");
    assert!(engine.login(Source::Local, login("nonsense")).await.is_err());
}
