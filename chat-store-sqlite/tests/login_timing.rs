//! Measures whether the duration of a login reveals that its account exists. Slow and sensitive to
//! other load, so `scripts/test-slow` runs it, in release mode.

#![allow(clippy::unwrap_used)] // these are tests

use std::sync::Arc;
use std::time::{Duration, Instant};

use chat_core::auth::{DeviceToken, ThrottleOptions};
use chat_core::engine::{Engine, EngineConfig};
use chat_core::model::{DeviceId, Login, Registration, ReplyCode, Secret, Source, UserName, UserRef};
use chat_core::service::ChatService;
use chat_store_sqlite::{Options, SqliteStore};

/// Value of Welch's t from which on a leak is assumed. It is the threshold of TVLA, a test for side
/// channels of cryptographic devices.
const MAX_T: f64 = 4.5;

/// Returns the mean of durations, in seconds, and their variance, in seconds squared.
fn mean_and_variance(durations: &[Duration]) -> (f64, f64) {
    let seconds = durations.iter().map(Duration::as_secs_f64);
    let count = durations.len() as f64;
    let mean = seconds.clone().sum::<f64>() / count;
    let squares: f64 = seconds.map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (count - 1.0))
}

/// Returns the absolute value of Welch's t of two samples. Sorts them, and removes the slowest 2 %
/// of each, which pauses of the machine cause.
fn welch_t(samples: &mut [Vec<Duration>; 2]) -> f64 {
    for sample in samples.iter_mut() {
        sample.sort_unstable();
        sample.truncate(sample.len() * 98 / 100);
    }
    let [one, other] = samples;
    let ((mean_one, variance_one), (mean_other, variance_other)) = (mean_and_variance(one), mean_and_variance(other));
    let error = variance_one / one.len() as f64 + variance_other / other.len() as f64;
    (mean_one - mean_other).abs() / error.sqrt()
}

fn attempt(name: &str, token: Option<Secret>) -> Login {
    let name = UserName::parse(name).unwrap();
    let mut login = Login::new(UserRef::Name(name), Secret::new("a wrong password"), DeviceId([7; 16]));
    login.device_token = token;
    login
}

async fn engine(store: SqliteStore, throttle: ThrottleOptions) -> Engine {
    let mut config = EngineConfig::default();
    config.throttle = throttle;
    let engine = Engine::builder(Arc::new(store)).config(config).build().await.unwrap();
    let name = UserName::parse("alice").unwrap();
    let registration = Registration::new(name, Secret::new("correct horse"));
    engine.register(Source::Local, registration).await.unwrap();
    // This login creates the device for which `measure` presents wrong tokens.
    let mut login = attempt("alice", None);
    login.secret = Secret::new("correct horse");
    engine.login(Source::Local, login).await.unwrap();
    engine
}

/// Attempts logins to an existing and to an unknown account alternately. Returns Welch's t of the
/// durations of `count` attempts for each account.
async fn measure(engine: &Engine, count: usize, has_token: bool, expected: ReplyCode) -> f64 {
    // The names have the same length: a longer name takes longer, whether or not it exists.
    let names = ["alice", "bobby"];
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..count + count / 10 {
        for turn in 0..2 {
            // Each account is the first of a round as often as the other.
            let which = (round + turn) % 2;
            let token = has_token.then(|| DeviceToken::generate().unwrap().to_secret());
            let login = attempt(names[which], token);
            let started = Instant::now();
            let refused = engine.login(Source::Local, login).await.unwrap_err();
            let took = started.elapsed();
            assert_eq!(refused.code, expected);
            // The first rounds, a tenth of `count`, warm caches up.
            if round >= count / 10 {
                samples[which].push(took);
            }
        }
    }
    welch_t(&mut samples)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; scripts/test-slow runs it"]
async fn duration_of_a_login_does_not_reveal_whether_the_account_exists() {
    let mut leaks = Vec::new();
    for has_token in [false, true] {
        for is_throttled in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(directory.path(), Options::default()).await.unwrap();
            let mut throttle = ThrottleOptions::danger_unlimited();
            if is_throttled {
                throttle.account_attempts = 1;
                throttle.account_window = Duration::from_secs(24 * 3600);
                throttle.max_account_wait = throttle.account_window;
            }
            let engine = engine(store, throttle).await;
            // The longer one attempt takes, the fewer attempts are measured.
            let (count, expected) = match (is_throttled, has_token) {
                // Compares the password.
                (false, _) => (1000, ReplyCode::BadCredentials),
                // Refused before the store is read.
                (true, false) => (20_000, ReplyCode::Throttled),
                // Refused after the store was read, not sooner than after 100 ms.
                (true, true) => (500, ReplyCode::Throttled),
            };
            if is_throttled {
                for name in ["alice", "bobby"] {
                    let first = engine.login(Source::Local, attempt(name, None)).await.unwrap_err();
                    assert_eq!(first.code, ReplyCode::BadCredentials);
                }
            }
            let t = measure(&engine, count, has_token, expected).await;
            println!("token {has_token}, throttled {is_throttled}: t = {t:.2}");
            if t >= MAX_T {
                leaks.push((has_token, is_throttled, t));
            }
            engine.shutdown().await;
        }
    }
    assert!(leaks.is_empty(), "{leaks:?}");
}
