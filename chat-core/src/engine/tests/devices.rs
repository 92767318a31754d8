//! Tests of the limits on a user's devices.

use super::support::*;
use crate::commands::Commands;
use crate::engine::SessionPolicy;
use crate::model::*;

#[tokio::test]
async fn evicted_device_is_closed_as_revoked() {
    let mut config = config();
    config.max_devices = 2;
    let engine = builder().config(config).build().await.unwrap();
    let oldest = new_user(&engine, "alice").await;
    let kept = engine.session(id(&oldest), DeviceId::random()).await.unwrap();
    let newest = engine.session(id(&oldest), DeviceId::random()).await.unwrap();
    let code = push(&oldest, |push| match push {
        Push::Closed(code) => Some(*code),
        _ => None,
    });
    assert_eq!(code.await, CloseCode::Revoked);
    for session in [&kept, &newest] {
        session.conversations().await.unwrap();
    }
}

#[tokio::test]
async fn max_devices_policy_counts_sessions_in_this_process_while_they_live() {
    let mut config = config();
    config.session_policy = SessionPolicy::MaxDevices(2);
    let engine = builder().config(config).build().await.unwrap();
    let one = new_user(&engine, "alice").await;
    let other = engine.session(id(&one), DeviceId::random()).await.unwrap();
    let third = engine.session(id(&one), DeviceId::random()).await;
    assert_eq!(error_code(third), ReplyCode::TooManyDevices);
    let alice = id(&one);
    drop((one, other));
    engine
        .session(alice, DeviceId::random())
        .await
        .expect("sessions without a token end with their connection");
}
