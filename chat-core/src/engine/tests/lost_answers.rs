//! Tests that sessions end although the store's answer to the change that ends them is lost.

use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::bus::MemoryBus;
use crate::commands::Commands;
use crate::engine::{CommandError, Engine, LocalSession};
use crate::model::*;
use crate::testkit::store::FaultyStore;

/// Waits until the session is closed and returns the close code.
async fn close_code(session: &LocalSession) -> CloseCode {
    let closed = async {
        loop {
            match session.next_push().await {
                Some(Push::Closed(code)) => return code,
                Some(_) => {}
                None => panic!("the session ended without a close code"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .expect("the session was not closed")
}

/// Asserts that the closed session `thief` receives no push when its user sends a message.
async fn assert_receives_nothing(thief: &LocalSession, alice: &LocalSession) {
    alice.send_text(direct(alice), "secret").await.unwrap();
    assert!(thief.next_push().await.is_none(), "the closed session received a push");
}

fn change_password() -> Command {
    Command::ChangePassword {
        old: Secret::new(PASSWORD),
        new: Secret::new("another horse"),
    }
}

fn assert_try_again(answer: Result<Outcome, CommandError>) {
    assert_eq!(error_code(answer), ReplyCode::TryAgain);
}

#[tokio::test]
async fn revoked_device_receives_nothing_after_a_lost_answer() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let thief = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    store.fail_after_commit();
    assert_try_again(
        alice
            .execute(Command::RevokeDevice(thief.caller().device().unwrap()))
            .await,
    );
    assert_eq!(close_code(&thief).await, CloseCode::Revoked);
    assert_receives_nothing(&thief, &alice).await;
}

#[tokio::test]
async fn password_change_with_a_lost_answer_ends_the_other_sessions() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let thief = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    store.fail_after_commit();
    assert_try_again(alice.execute(change_password()).await);
    assert_eq!(close_code(&thief).await, CloseCode::Revoked);
    assert_receives_nothing(&thief, &alice).await;
}

#[tokio::test]
async fn logout_and_replacement_with_a_lost_answer_end_the_session() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    let phone = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    store.fail_after_commit();
    assert_try_again(phone.execute(Command::Logout).await);
    assert_eq!(close_code(&phone).await, CloseCode::LoggedOut);
    let tablet = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    store.fail_after_commit();
    let login = engine
        .login(Source::Local, login(id(&alice), tablet.caller().device().unwrap()))
        .await;
    assert_eq!(error_code(login), ReplyCode::TryAgain);
    assert_eq!(close_code(&tablet).await, CloseCode::Replaced);
}

/// A change may be committed after the engine and its caller stopped waiting for it.
#[tokio::test]
async fn late_commit_ends_sessions() {
    let (engine, store, alice) = engine_on_faulty_store(short_timeouts()).await;
    let thief = engine.session(id(&alice), DeviceId::random()).await.unwrap();
    let device = thief.caller().device().unwrap();
    let revoke = || Command::RevokeDevice(device);
    store.fail_before_commit();
    assert_try_again(alice.execute(revoke()).await);
    // Simulates the late commit: another engine without a bus makes the change, so its announcement
    // is lost.
    let other = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    other.execute(alice.caller(), revoke()).await.unwrap();
    assert_eq!(close_code(&thief).await, CloseCode::Revoked);
}

/// A caller that got `TryAgain` retries, maybe on another node. The retry fails because the change
/// is already stored, but it still ends the sessions.
#[tokio::test]
async fn retry_of_a_committed_change_ends_sessions() {
    let (engine, store, alice) = engine_on_faulty_store(config()).await;
    // The other node has no bus, so its changes are not announced.
    let other = Engine::builder(store.clone()).config(config()).build().await.unwrap();
    let (phone, laptop) = (DeviceId::random(), DeviceId::random());
    let phone = engine.session(id(&alice), phone).await.unwrap();
    let revoke = || Command::RevokeDevice(phone.caller().device().unwrap());
    other.execute(alice.caller(), revoke()).await.unwrap();
    assert_eq!(error_code(alice.execute(revoke()).await), ReplyCode::NotFound);
    assert_eq!(close_code(&phone).await, CloseCode::Revoked);
    let laptop = engine.session(id(&alice), laptop).await.unwrap();
    other.execute(alice.caller(), change_password()).await.unwrap();
    assert_eq!(
        error_code(alice.execute(change_password()).await),
        ReplyCode::BadCredentials
    );
    assert_eq!(close_code(&laptop).await, CloseCode::Revoked);
}

#[tokio::test]
async fn sessions_on_other_nodes_end_after_a_lost_answer() {
    let bus = Arc::new(MemoryBus::new());
    let (_engine, store, _) = engine_on_faulty_store(config()).await;
    let node = async |store: &Arc<FaultyStore>| {
        let builder = Engine::builder(store.clone()).config(config());
        builder.bus(bus.clone()).build().await.unwrap()
    };
    let (one, two) = (node(&store).await, node(&store).await);
    let here = new_user(&one, "bob").await;
    let there = two.session(id(&here), DeviceId::random()).await.unwrap();
    store.fail_after_commit();
    assert_try_again(
        here.execute(Command::RevokeDevice(there.caller().device().unwrap()))
            .await,
    );
    assert_eq!(close_code(&there).await, CloseCode::Revoked);
}
