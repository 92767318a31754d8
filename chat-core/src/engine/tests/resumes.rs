//! Tests of session tokens: their rotation, their idle limit, and the limit on wrong ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::support::*;
use crate::clock::Clock;
use crate::engine::{CommandError, Engine};
use crate::model::*;
use crate::rate::Rate;

/// Resumes the session of a device. Returns the token that replaces `token`, and panics if the
/// resume does not replace it.
async fn resume(engine: &Engine, user: UserId, device: DeviceId, token: &Secret) -> Result<Secret, CommandError> {
    let resume = Resume::new(user, device, token.clone());
    let grant = engine.resume(Source::Local, resume).await?;
    Ok(grant.session_token.expect("the resume replaced the token"))
}

/// Creates an engine that replaces the session token at each resume.
async fn rotating_engine() -> Engine {
    let mut config = config();
    config.session_rotation_interval = Duration::ZERO;
    builder().config(config).build().await.unwrap()
}

async fn login_token(engine: &Engine, user: UserId, device: DeviceId) -> Secret {
    let grant = engine.login(Source::Local, login(user, device)).await.unwrap();
    grant.session_token.unwrap()
}

#[tokio::test]
async fn replaced_token_works_until_its_successor_was_used() {
    let engine = rotating_engine().await;
    let (alice, device) = (register(&engine, "alice").await, DeviceId::random());
    let first = login_token(&engine, alice, device).await;
    // The replies of two resumes were lost.
    resume(&engine, alice, device, &first).await.unwrap();
    let lost = resume(&engine, alice, device, &first).await.unwrap();
    let second = resume(&engine, alice, device, &first).await.unwrap();
    assert!(first != second && second != lost);
    let third = resume(&engine, alice, device, &second).await.unwrap();
    for old in [&first, &lost] {
        assert_eq!(
            error_code(resume(&engine, alice, device, old).await),
            ReplyCode::SessionExpired
        );
    }
    resume(&engine, alice, device, &third).await.unwrap();
}

/// A client resumes on another node because the first does not answer, and the first node executes
/// the request late.
#[tokio::test]
async fn late_execution_of_an_earlier_resume_does_not_end_the_session() {
    let engine = rotating_engine().await;
    let (alice, device) = (register(&engine, "alice").await, DeviceId::random());
    let first = login_token(&engine, alice, device).await;
    let second = resume(&engine, alice, device, &first).await.unwrap();
    let late = resume(&engine, alice, device, &first).await.unwrap();
    let third = resume(&engine, alice, device, &second).await.unwrap();
    // The late request may also be that of a thief who has copied the first token. The client's
    // next resume has ended the thief's session.
    for old in [&first, &late] {
        assert_eq!(
            error_code(resume(&engine, alice, device, old).await),
            ReplyCode::SessionExpired
        );
    }
    resume(&engine, alice, device, &third).await.unwrap();
}

#[tokio::test]
async fn login_logout_and_a_new_password_end_replaced_tokens() {
    let engine = rotating_engine().await;
    let (alice, device) = (register(&engine, "alice").await, DeviceId::random());
    let first = login_token(&engine, alice, device).await;
    let second = resume(&engine, alice, device, &first).await.unwrap();
    let again = login_token(&engine, alice, device).await;
    for old in [&first, &second] {
        assert_eq!(
            error_code(resume(&engine, alice, device, old).await),
            ReplyCode::SessionExpired
        );
    }
    let grant = engine
        .resume(Source::Local, Resume::new(alice, device, again.clone()))
        .await
        .unwrap();
    let change = Command::ChangePassword {
        old: Secret::new(PASSWORD),
        new: Secret::new("another password"),
    };
    let Outcome::PasswordChanged(tokens) = engine.execute(grant.caller, change).await.unwrap() else {
        panic!("the device has tokens")
    };
    assert_eq!(
        error_code(resume(&engine, alice, device, &again).await),
        ReplyCode::SessionExpired
    );
    let grant = engine
        .resume(Source::Local, Resume::new(alice, device, tokens.session_token.clone()))
        .await
        .unwrap();
    engine.execute(grant.caller, Command::Logout).await.unwrap();
    assert_eq!(
        error_code(resume(&engine, alice, device, &tokens.session_token).await),
        ReplyCode::SessionExpired
    );
}

/// Clock whose time, in milliseconds, the test sets.
#[derive(Debug)]
struct FakeClock(AtomicI64);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn token_expires_when_it_was_not_used_for_the_idle_limit() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let clock = Arc::new(FakeClock(AtomicI64::new(1_700_000_000_000)));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    assert_eq!(
        engine.config().session_idle_timeout,
        Duration::from_secs(90 * 24 * 3600)
    );
    let (alice, device) = (register(&engine, "alice").await, DeviceId::random());
    let mut token = login_token(&engine, alice, device).await;
    for _ in 0..3 {
        clock.0.fetch_add(90 * DAY_MS - 1, Ordering::Relaxed);
        token = resume(&engine, alice, device, &token).await.unwrap();
    }
    clock.0.fetch_add(90 * DAY_MS, Ordering::Relaxed);
    assert_eq!(
        error_code(resume(&engine, alice, device, &token).await),
        ReplyCode::SessionExpired
    );
    login_token(&engine, alice, device).await;
}

#[tokio::test]
async fn token_is_replaced_once_it_is_seven_days_old() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    let clock = Arc::new(FakeClock(AtomicI64::new(1_700_000_000_000)));
    let engine = builder().clock(clock.clone()).build().await.unwrap();
    let (alice, device) = (register(&engine, "alice").await, DeviceId::random());
    let token = login_token(&engine, alice, device).await;
    let again = || engine.resume(Source::Local, Resume::new(alice, device, token.clone()));
    for _ in 0..6 {
        clock.0.fetch_add(DAY_MS, Ordering::Relaxed);
        assert!(again().await.unwrap().session_token.is_none());
    }
    clock.0.fetch_add(DAY_MS, Ordering::Relaxed);
    let next = resume(&engine, alice, device, &token).await.unwrap();
    // The use of the new token, even without a replacement, ends the former one.
    let grant = engine.resume(Source::Local, Resume::new(alice, device, next)).await;
    assert!(grant.unwrap().session_token.is_none());
    assert_eq!(error_code(again().await), ReplyCode::SessionExpired);
}

#[tokio::test]
async fn wrong_tokens_are_limited_and_do_not_lock_out_known_devices() {
    let mut config = config();
    config.throttle.login_rate_per_source = Rate::new(5, Duration::from_secs(3600));
    let engine = builder().config(config).build().await.unwrap();
    let (alice, device) = (register(&engine, "alice").await, DeviceId::random());
    let source = Source::Ip("192.0.2.7".parse().unwrap());
    let grant = engine.login(source, login(alice, device)).await.unwrap();
    let token = grant.session_token.unwrap();
    let wrong = |device| Resume::new(alice, device, Secret::new([7; 32]));
    let malformed = Resume::new(alice, DeviceId::random(), Secret::new("short"));
    let refused = engine.resume(source, malformed).await;
    assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    for _ in 0..4 {
        let refused = engine.resume(source, wrong(DeviceId::random())).await;
        assert_eq!(error_code(refused), ReplyCode::SessionExpired);
    }
    let refused = engine.resume(source, wrong(DeviceId::random())).await.unwrap_err();
    assert_eq!(refused.code, ReplyCode::Throttled);
    assert!(refused.retry_after.is_some());
    engine.resume(source, Resume::new(alice, device, token)).await.unwrap();
}

/// An IPv6 /48 network may try eight times as many wrong tokens as a /64 network, however many
/// addresses and devices it uses.
#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_limited_in_ipv6_networks_of_48_bits() {
    let mut config = config();
    config.throttle.login_rate_per_source = Rate::new(5, Duration::from_secs(3600));
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let attempt = async |site: u16, network: u16| {
        let source = Source::Ip(std::net::Ipv6Addr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 1]).into());
        let wrong = Resume::new(alice, DeviceId::random(), Secret::new([7; 32]));
        error_code(engine.resume(source, wrong).await)
    };
    for network in 0..8 {
        for _ in 0..5 {
            assert_eq!(attempt(0, network).await, ReplyCode::SessionExpired);
        }
        assert_eq!(attempt(0, network).await, ReplyCode::Throttled, "a /64 network");
    }
    assert_eq!(attempt(0, 8).await, ReplyCode::Throttled, "the /48 network");
    assert_eq!(attempt(1, 0).await, ReplyCode::SessionExpired, "another /48 network");
}
