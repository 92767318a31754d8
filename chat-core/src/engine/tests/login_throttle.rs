//! Tests of the throttle of logins and registrations, and of what it reveals about accounts.

use std::sync::Arc;
use std::time::Duration;

use super::support::*;
use crate::engine::Engine;
use crate::model::*;
use crate::store::MemoryStore;
use crate::testkit::store::FaultyStore;

#[tokio::test]
async fn throttle_stops_guesses_without_locking_out_a_known_device() {
    let mut config = config();
    config.throttle = crate::auth::ThrottleOptions::default();
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let known = try_login(&engine, alice, device).await.unwrap();
    let guess = Login {
        secret: Secret::new("wrong password"),
        ..login(alice, DeviceId::random())
    };
    for _ in 0..5 {
        assert_eq!(
            error_code(engine.login(Source::Local, guess.clone()).await),
            ReplyCode::BadCredentials
        );
    }
    let throttled = engine.login(Source::Local, guess).await.unwrap_err();
    assert_eq!(throttled.code, ReplyCode::Throttled);
    assert!(throttled.retry_after.is_some());
    let owner = Login {
        device_token: known.device_token,
        ..login(alice, device)
    };
    let admitted = engine.login(Source::Local, owner).await.unwrap();
    assert!(
        admitted.device_token.is_none(),
        "the device keeps the token that it presented"
    );
}

#[tokio::test]
async fn login_attempts_by_name_and_by_id_count_together_for_a_known_device() {
    let mut config = config();
    config.throttle = crate::auth::ThrottleOptions::default();
    let engine = builder().config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let device = DeviceId::random();
    let known = try_login(&engine, alice, device).await.unwrap();
    let guess = |account| Login {
        account: Some(account),
        secret: Secret::new("wrong password"),
        device_token: known.device_token.clone(),
        ..login(alice, device)
    };
    let name = UserRef::Name(UserName::parse("alice").unwrap());
    for n in 0..7 {
        let account = if n % 2 == 0 { name.clone() } else { UserRef::Id(alice) };
        let refused = error_code(engine.login(Source::Local, guess(account)).await);
        let expected = if n < 5 {
            ReplyCode::BadCredentials
        } else {
            ReplyCode::Throttled
        };
        assert_eq!(refused, expected, "attempt {n}");
    }
}

/// Wrong device tokens do not let a throttled source read the store, nor do they lock out devices
/// that have logged in from this source.
#[tokio::test(start_paused = true)]
async fn wrong_device_tokens_are_charged_to_their_source() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let mut config = config();
    config.throttle = crate::auth::ThrottleOptions::default();
    let engine = Engine::builder(store.clone()).config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let (device, source) = (DeviceId::random(), Source::Ip([192, 0, 2, 7].into()));
    let first = engine.login(source, login(alice, device)).await.unwrap();
    let with_token = |token: Secret, device| Login {
        device_token: Some(token),
        ..login(alice, device)
    };
    let junk = || with_token(Secret::new([7; 32]), DeviceId::random());
    let wrong = || Login {
        secret: Secret::new("wrong password"),
        ..junk()
    };
    for _ in 0..20 {
        engine.login(source, wrong()).await.unwrap_err();
    }
    store.set_unavailable(true);
    let refused = engine.login(source, junk()).await;
    assert_eq!(error_code(refused), ReplyCode::Throttled, "the store is not read");
    store.set_unavailable(false);
    let known = with_token(first.device_token.clone().unwrap(), device);
    engine.login(source, known).await.unwrap();
}

/// A restored store does not know the tokens that it issued after the backup. If they were charged,
/// the source could no longer present the token of a device that logged in elsewhere.
#[tokio::test(start_paused = true)]
async fn stale_device_token_with_the_right_password_is_not_charged() {
    let mut config = config();
    config.max_devices = 100;
    config.throttle = crate::auth::ThrottleOptions {
        login_rate: crate::rate::Rate::UNLIMITED,
        ..Default::default()
    };
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .config(config)
        .build()
        .await
        .unwrap();
    let alice = register(&engine, "alice").await;
    let [home, office] = [7, 8].map(|last| Source::Ip([192, 0, 2, last].into()));
    let laptop = DeviceId::random();
    let at_home = engine.login(home, login(alice, laptop)).await.unwrap();
    for _ in 0..50 {
        let stale = Login {
            device_token: Some(Secret::new([7; 32])),
            ..login(alice, DeviceId::random())
        };
        engine.login(office, stale).await.unwrap();
    }
    for _ in 0..6 {
        let wrong = Login {
            secret: Secret::new("wrong password"),
            ..login(alice, DeviceId::random())
        };
        engine.login(home, wrong).await.unwrap_err();
    }
    let throttled = engine.login(office, login(alice, DeviceId::random())).await;
    assert_eq!(error_code(throttled), ReplyCode::Throttled);
    let known = Login {
        device_token: at_home.device_token,
        ..login(alice, laptop)
    };
    engine.login(office, known).await.unwrap();
}

/// The second attempt presents the name of the account instead of its id, so the throttle counts it
/// as an attempt for the same account only after the look-up.
#[tokio::test(start_paused = true)]
async fn login_that_is_throttled_after_its_look_up_is_answered_at_a_fixed_time() {
    let mut config = config();
    config.throttle = crate::auth::ThrottleOptions {
        account_attempts: 1,
        ..crate::auth::ThrottleOptions::danger_unlimited()
    };
    let engine = Engine::builder(Arc::new(MemoryStore::new()))
        .config(config)
        .build()
        .await
        .unwrap();
    let alice = register(&engine, "alice").await;
    let wrong = |account: UserRef| Login {
        account: Some(account),
        secret: Secret::new("wrong password"),
        ..login(alice, DeviceId::random())
    };
    let first = engine.login(Source::Local, wrong(alice.into())).await;
    assert_eq!(error_code(first), ReplyCode::BadCredentials);
    let started = tokio::time::Instant::now();
    let by_name = wrong(UserRef::Name(UserName::parse("alice").unwrap()));
    let refused = engine.login(Source::Local, by_name).await;
    assert_eq!(error_code(refused), ReplyCode::Throttled);
    // The `REFUSAL_TIME` of the password authenticator.
    assert_eq!(started.elapsed(), Duration::from_millis(100));
}

/// Names can be probed no faster than passwords can be guessed: a registration counts as a login
/// attempt, and a throttled one is refused before the name is looked up.
#[tokio::test]
async fn throttled_registration_does_not_reveal_taken_names() {
    let mut config = config();
    config.throttle = crate::auth::ThrottleOptions::default();
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let engine = Engine::builder(store.clone()).config(config).build().await.unwrap();
    let source = Source::Ip("203.0.113.7".parse().unwrap());
    register(&engine, "alice").await;
    let probe = async |name| error_code(engine.register(source, registration(name)).await);
    let mut probes = 0;
    while probe("alice").await == ReplyCode::NameTaken {
        probes += 1;
        assert!(probes <= 20, "the source is throttled");
    }
    let before = store.account_reads();
    assert_eq!(probe("alice").await, ReplyCode::Throttled);
    assert_eq!(probe("bob").await, ReplyCode::Throttled);
    assert_eq!(store.account_reads(), before, "no name is looked up");
}

/// The duration of a login does not reveal whether its account exists: the engine reads the store
/// as often for an unknown account as for a known one, even while the login is throttled.
#[tokio::test]
async fn login_reads_the_store_equally_often_for_known_and_unknown_accounts() {
    let mut config = config();
    config.throttle = crate::auth::ThrottleOptions::default();
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())));
    let engine = Engine::builder(store.clone()).config(config).build().await.unwrap();
    let alice = register(&engine, "alice").await;
    let name = |name| UserRef::Name(UserName::parse(name).unwrap());
    let accounts = [
        name("alice"),
        UserRef::Id(alice),
        name("stranger"),
        UserRef::Id(UserId(99)),
    ];
    let token = crate::auth::DeviceToken::generate().unwrap().to_secret();
    let malformed = Secret::new("not a token");
    for token in [None, Some(token), Some(malformed)] {
        for waits_for_throttle in [false, true] {
            let mut reads = Vec::new();
            for account in &accounts {
                let attempt = Login {
                    account: Some(account.clone()),
                    secret: Secret::new("wrong password"),
                    device_token: token.clone(),
                    ..login(alice, DeviceId([7; 16]))
                };
                let log_in = async || error_code(engine.login(Source::Local, attempt.clone()).await);
                while waits_for_throttle && log_in().await != ReplyCode::Throttled {}
                let before = store.account_reads();
                let refused = log_in().await;
                reads.push((refused == ReplyCode::Throttled, store.account_reads() - before));
            }
            let counts: std::collections::HashSet<_> = reads.iter().map(|(_, count)| count).collect();
            assert_eq!(counts.len(), 1, "{token:?}, throttled: {waits_for_throttle}, {reads:?}");
        }
    }
}
