//! Test of TLS to a real MariaDB. Its certificates are self-signed, so each is its own authority.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // these are tests

use std::fs;

use chat_core::store::Store;
use chat_harness::services::MariaDb;
use chat_store_mysql::{MysqlStore, OpenError, Options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_connects_only_to_a_server_with_a_certificate_of_the_authority() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let trusted = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    fs::write(path("certificate.pem"), trusted.cert.pem()).unwrap();
    fs::write(path("key.pem"), trusted.signing_key.serialize_pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(path("other.pem"), other.cert.pem()).unwrap();

    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let server = MariaDb::start(&[
        &format!("--ssl-cert={certificate}"),
        &format!("--ssl-key={key}"),
        "--require-secure-transport=ON",
    ])
    .unwrap();
    // The server accepts only TLS, so this statement uses TLS too.
    let created = server.sql_over_tls(&certificate, "CREATE DATABASE chat");
    created.unwrap();
    let url = server.url("chat");
    let open = |file: Option<&str>| {
        let mut options = Options::default();
        options.ca_file = file.map(|file| directory.path().join(file));
        MysqlStore::open(&url, options)
    };
    let store = open(Some("certificate.pem")).await.unwrap();
    store.epoch().await.unwrap();
    assert!(matches!(open(Some("other.pem")).await, Err(OpenError::Connect(_))));
    assert!(
        matches!(open(None).await, Err(OpenError::Connect(_) | OpenError::Other(_))),
        "neither a CA file nor the URL asks for TLS, so the server rejects the connection"
    );
    assert!(matches!(
        open(Some("missing.pem")).await,
        Err(OpenError::Authorities { .. })
    ));
}
