//! Tests of basic use: register, log in, send and read.

use super::support::*;
use crate::commands::Commands;
use crate::model::*;

#[tokio::test]
async fn friends_write_to_each_other() {
    let engine = engine().await;
    let (alice, bob) = (new_user(&engine, "alice").await, new_user(&engine, "bob").await);
    befriend(&alice, &bob).await;
    let first = alice.send_text(direct(&bob), "hello").await.unwrap();
    let second = bob.send_text(direct(&alice), "hi").await.unwrap();
    assert_eq!((first.seq, second.seq), (Seq(1), Seq(2)));
    assert_eq!(first.conversation, second.conversation);
    for session in [&alice, &bob] {
        let one = wait_for_event(session, EventKind::Message).await;
        let two = wait_for_event(session, EventKind::Message).await;
        assert_eq!((one.seq, two.seq), (Seq(1), Seq(2)));
        assert_eq!(message(&one).unwrap(), "hello");
        let page = history(session, ConversationRef::Id(first.conversation)).await;
        assert_eq!(texts(&page), ["hello", "hi"]);
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn device_logs_in_and_resumes() {
    let engine = engine().await;
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let first = engine.login(Source::Local, login(alice, device)).await.unwrap();
    let token = first.session_token.unwrap();
    let resume = Resume {
        user: alice,
        device,
        session_token: token,
    };
    let second = engine.resume(Source::Local, resume).await.unwrap();
    assert!(second.caller.epoch().unwrap() > first.caller.epoch().unwrap());
    assert!(second.session_token.is_none(), "the token is not due for replacement");
    let stale = engine.execute(
        first.caller,
        Command::UpdateProfile(ProfileChanges {
            direct_policy: Some(DirectPolicy::Everyone),
            ..ProfileChanges::default()
        }),
    );
    assert_eq!(error_code(stale.await), ReplyCode::Fenced);
}
