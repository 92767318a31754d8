//! Tests of TLS to a real Redis, with a self-signed test certificate.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // these are tests

use std::fs;

use chat_bus_redis::{Options, RedisBackend};
use chat_core::cluster::Presence;
use chat_core::model::{ClusterKey, DeviceId, NodeId, PresenceState, UserId};
use chat_harness::services::Redis;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backend_accepts_only_a_server_with_a_trusted_certificate() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let trusted = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    fs::write(path("certificate.pem"), trusted.cert.pem()).unwrap();
    fs::write(path("key.pem"), trusted.signing_key.serialize_pem()).unwrap();
    let untrusted = rcgen::generate_simple_self_signed(names).unwrap();

    let mut redis = Redis::start_tls(&path("certificate.pem"), &path("key.pem")).unwrap();
    let can_set = async |url: String, authority: Option<String>| {
        let mut options = Options::default();
        options.authorities = authority.map(String::into_bytes);
        let presence = RedisBackend::open(&url, ClusterKey::random(), options)
            .unwrap()
            .presence();
        let set = presence.set(NodeId([1; 16]), UserId(1), DeviceId([1; 16]), PresenceState::Online);
        set.await.is_ok()
    };
    let (encrypted, plain) = (format!("rediss://{}/", redis.address()), redis.url());
    assert!(can_set(encrypted.clone(), Some(trusted.cert.pem())).await);
    assert!(!can_set(encrypted.clone(), Some(untrusted.cert.pem())).await);
    assert!(
        !can_set(encrypted.clone(), None).await,
        "no public authority signed the certificate"
    );
    for round in ["started", "restarted"] {
        assert!(
            !can_set(plain.clone(), None).await,
            "the {round} server accepts no plain connection"
        );
        redis.restart().unwrap();
        assert!(can_set(encrypted.clone(), Some(trusted.cert.pem())).await, "{round}");
    }
}
