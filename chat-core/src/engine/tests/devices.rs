//! Tests of a user's devices: how they are listed, how many there may be, and how they are removed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::support::*;
use crate::clock::{Clock, SystemClock};
use crate::commands::Commands;
use crate::engine::{Engine, SessionPolicy};
use crate::model::*;

#[tokio::test]
async fn session_of_an_evicted_device_is_closed_as_revoked() {
    let mut config = config();
    config.max_devices = 2;
    let engine = builder().config(config).build().await.unwrap();
    let oldest = new_user(&engine, "alice").await;
    let kept = engine.session(id(&oldest), DeviceId::random()).await.unwrap();
    let newest = engine.session(id(&oldest), DeviceId::random()).await.unwrap();
    let code = wait_for_push(&oldest, |push| match push {
        Push::Closed(code) => Some(*code),
        _ => None,
    });
    assert_eq!(code.await, CloseCode::Revoked);
    for session in [&kept, &newest] {
        session.conversations().await.unwrap();
    }
}

#[tokio::test]
async fn reject_new_devices_policy_counts_sessions_in_this_process_while_they_live() {
    let mut config = config();
    config.session_policy = SessionPolicy::RejectNewDevices;
    config.max_devices = 2;
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
        .expect("a session in this process counts only until it is dropped");
}

/// Returns the ids of the devices of a caller's user.
async fn device_ids(engine: &Engine, caller: Caller) -> HashSet<DeviceId> {
    match engine.execute(caller, Command::ListDevices).await {
        Ok(Outcome::Devices(devices)) => devices.iter().map(|device| device.id).collect(),
        other => panic!("no devices: {other:?}"),
    }
}

#[tokio::test]
async fn devices_are_listed_and_revoked() {
    let engine = engine().await;
    let phone = new_user(&engine, "alice").await;
    let laptop = engine.session(id(&phone), DeviceId::random()).await.unwrap();
    let Ok(Outcome::Devices(devices)) = phone.execute(Command::ListDevices).await else {
        panic!("no devices");
    };
    assert_eq!(devices.len(), 2);
    assert!(devices.iter().all(|device| device.online));
    assert_eq!(devices.iter().filter(|device| device.current).count(), 1);
    phone
        .execute(Command::RevokeDevice(laptop.caller().device().unwrap()))
        .await
        .unwrap();
    let closed = wait_for_push(&laptop, |push| match push {
        Push::Closed(code) => Some(*code),
        _ => None,
    });
    assert_eq!(closed.await, CloseCode::Revoked);
    assert!(laptop.next_push().await.is_none());
    assert_eq!(
        error_code(laptop.send_text(direct(&laptop), "x").await),
        ReplyCode::Fenced
    );
    let again = phone
        .execute(Command::RevokeDevice(laptop.caller().device().unwrap()))
        .await;
    assert_eq!(error_code(again), ReplyCode::NotFound);
    let newer = engine
        .session(id(&phone), laptop.caller().device().unwrap())
        .await
        .unwrap();
    assert!(
        newer.caller().epoch().unwrap() > laptop.caller().epoch().unwrap(),
        "a revoked device that logs in again has a higher epoch than before"
    );
}

#[tokio::test]
async fn reject_new_devices_policy_refuses_a_further_device() {
    let mut config = config();
    config.session_policy = SessionPolicy::RejectNewDevices;
    config.max_devices = 2;
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let devices = [DeviceId::random(), DeviceId::random(), DeviceId::random()];
    let first = try_login(&engine, alice, devices[0]).await.unwrap();
    try_login(&engine, alice, devices[1]).await.unwrap();
    assert_eq!(
        error_code(try_login(&engine, alice, devices[2]).await),
        ReplyCode::TooManyDevices
    );
    let first = {
        let again = try_login(&engine, alice, devices[0])
            .await
            .expect("a known device may log in again");
        assert!(again.caller.epoch().unwrap() > first.caller.epoch().unwrap());
        again
    };
    engine.execute(first.caller, Command::Logout).await.unwrap();
    let last = try_login(&engine, alice, devices[2])
        .await
        .expect("a logged-out device does not count against the limit");
    // `devices[0]` logged in later than `devices[1]`, but a device that is logged out is evicted
    // first.
    assert_eq!(
        device_ids(&engine, last.caller).await,
        HashSet::from([devices[1], devices[2]])
    );
}

/// Clock that advances by a millisecond whenever it is read, so that no two logins have the same
/// time.
#[derive(Debug)]
struct AdvancingClock(AtomicI64);

impl Clock for AdvancingClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn replace_policy_keeps_at_most_max_devices() {
    let mut config = config();
    config.max_devices = 3;
    let clock = AdvancingClock(AtomicI64::new(SystemClock.now().0));
    let engine = builder().config(config).clock(Arc::new(clock)).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let devices: Vec<_> = (0..5).map(|_| DeviceId::random()).collect();
    let mut kept = HashSet::new();
    for n in [0, 1, 2, 0, 3, 4, 4] {
        let last = try_login(&engine, alice, devices[n]).await.unwrap();
        kept = device_ids(&engine, last.caller).await;
        assert!(kept.len() <= 3);
    }
    let expected = HashSet::from([devices[0], devices[3], devices[4]]);
    assert_eq!(kept, expected, "the devices that logged in last");
}

#[tokio::test]
async fn new_device_evicts_no_connected_device_while_others_are_offline() {
    let mut config = config();
    config.max_devices = 3;
    let clock = AdvancingClock(AtomicI64::new(SystemClock.now().0));
    let engine = builder().config(config).clock(Arc::new(clock)).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let devices: Vec<_> = (0..4).map(|_| DeviceId::random()).collect();
    let oldest = engine.session(alice, devices[0]).await.unwrap();
    for device in &devices[1..3] {
        try_login(&engine, alice, *device).await.unwrap();
    }
    let last = try_login(&engine, alice, devices[3]).await.unwrap();
    let expected = HashSet::from([devices[0], devices[2], devices[3]]);
    assert_eq!(device_ids(&engine, last.caller).await, expected);
    oldest.conversations().await.unwrap();
}

/// A user cannot fill the store by logging in and out as new devices.
#[tokio::test]
async fn reject_policy_keeps_at_most_max_devices() {
    let mut config = config();
    config.session_policy = SessionPolicy::Reject;
    config.max_devices = 3;
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    for _ in 0..6 {
        let device = DeviceId::random();
        let granted = try_login(&engine, alice, device).await.unwrap();
        let kept = device_ids(&engine, granted.caller).await;
        assert!(kept.len() <= 3 && kept.contains(&device));
        engine.execute(granted.caller, Command::Logout).await.unwrap();
    }
}
