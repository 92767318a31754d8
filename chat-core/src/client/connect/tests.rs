//! Tests of what a client accepts as proof of a server's identity.

use super::*;
use crate::client::{Credentials, MemoryStore, ServerAddress};
use crate::secure::Trust;
use crate::transport::tls::RootCertStore;

const KEY: &str = "sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Returns what a client with [`Trust::AcceptFirst`], and with the options that `set` changes,
/// accepts from the server at `address`, if the hosts in `pinned` have a pinned key, and those in
/// `certified` have proved themselves by a certificate.
async fn accepted(
    pinned: &[&str],
    certified: &[&str],
    address: &str,
    set: impl FnOnce(&mut ClientOptions),
) -> &'static str {
    let store = MemoryStore::new();
    for host in certified {
        store.record_authority(host).await.unwrap();
    }
    for host in pinned {
        store.pin(host, &KEY.parse().unwrap()).await.unwrap();
    }
    let address: ServerAddress = address.parse().unwrap();
    let mut options = ClientOptions::new([address.clone()], Credentials::Stored);
    options.trust = Trust::AcceptFirst;
    options.authorities = Some(Arc::new(RootCertStore::empty()));
    set(&mut options);
    match policy(&address.into(), &options, &store).await {
        Ok(Policy::Plain) => "plain",
        Ok(Policy::Keys(PinPolicy::FirstContact)) => "any key",
        Ok(Policy::Keys(_)) => "pinned key",
        Ok(Policy::Authorities) => "authority",
        Ok(Policy::AuthoritiesOrKeys(PinPolicy::FirstContact)) => "authority or any key",
        Ok(Policy::AuthoritiesOrKeys(_)) => "authority or pinned key",
        Err(_) => "nothing",
    }
}

#[tokio::test]
async fn server_has_to_prove_itself_in_the_way_that_the_store_knows() {
    let default = |_: &mut ClientOptions| {};
    let no_authorities = |options: &mut ClientOptions| options.authorities = None;
    let authority_required = |options: &mut ClientOptions| options.require_authority = true;
    let authority_missing = |options: &mut ClientOptions| {
        options.authorities = None;
        options.require_authority = true;
    };
    let (tls, sc1) = ("tls://a:1", "sc1://a:1");
    // The first contact.
    assert_eq!(accepted(&[], &[], tls, default).await, "authority or any key");
    assert_eq!(accepted(&[], &[], tls, no_authorities).await, "any key");
    assert_eq!(accepted(&[], &[], tls, authority_required).await, "authority");
    assert_eq!(accepted(&[], &[], tls, authority_missing).await, "nothing");
    assert_eq!(accepted(&[], &[], sc1, default).await, "any key");
    // The server has proved itself by a certificate.
    for spelling in ["tls://a:1", "tls://A.:1"] {
        assert_eq!(accepted(&[], &["a:1"], spelling, default).await, "authority");
        assert_eq!(accepted(&[], &["a:1"], spelling, no_authorities).await, "nothing");
    }
    assert_eq!(accepted(&[], &["a:1"], sc1, default).await, "nothing");
    // Another server has proved itself by a certificate.
    assert_eq!(accepted(&[], &["b:1"], tls, default).await, "authority");
    assert_eq!(accepted(&[], &["b:1"], tls, no_authorities).await, "nothing");
    assert_eq!(accepted(&[], &["b:1"], sc1, default).await, "nothing");
    // The key of this server, or of another one, is pinned.
    for pinned in ["a:1", "b:1"] {
        for address in [tls, sc1] {
            assert_eq!(accepted(&[pinned], &[], address, default).await, "pinned key");
        }
    }
    assert_eq!(accepted(&["a:1"], &[], tls, authority_required).await, "pinned key");
    assert_eq!(accepted(&["a:1"], &[], tls, authority_missing).await, "pinned key");
    assert_eq!(accepted(&["b:1"], &[], tls, authority_required).await, "authority");
    assert_eq!(accepted(&["b:1"], &[], tls, authority_missing).await, "nothing");
}

#[tokio::test]
async fn key_of_a_server_that_proved_itself_by_a_certificate_is_not_pinned() {
    let store = MemoryStore::new();
    store.record_authority("a:1").await.unwrap();
    store.pin("A:1", &KEY.parse().unwrap()).await.unwrap_err();
}
