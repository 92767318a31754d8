//! Tests of TLS connections: certificates, pins, versions and the end of streams.

use std::sync::Arc;

use rustls::{RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    secure::{PinPolicy, ServerIdentity},
    transport::{PeerAddr, Transport as _, pipe},
};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Returns the identity key of the test vectors.
fn identity() -> ServerIdentity {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/data/sc1_vectors.json")).unwrap();
    ServerIdentity::from_pem(vectors["rsa_private_pkcs8_pem"].as_str().unwrap()).unwrap()
}

/// Returns a root certificate, a chain of one certificate that the root issued for `chat.example`,
/// and the private key of that certificate.
fn issued() -> (CertificateDer<'static>, String, String) {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["chat.example".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    (root.der().clone(), leaf.pem(), key.serialize_pem())
}

/// Connects a client to a server. If the handshake succeeds, sends bytes both ways, closes both
/// sides, and returns the fingerprint that the client saw.
async fn exchange(acceptor: &TlsAcceptor, trust: TlsTrust, name: &str) -> Result<Fingerprint, TlsError> {
    let (ours, theirs) = pipe();
    let connector = TlsConnector::new(provider(), trust)?;
    let (client, server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
    let TlsConnected {
        stream: mut client,
        fingerprint,
        ..
    } = client?;
    let mut server = server.unwrap();
    assert_eq!(server.peer(), PeerAddr::Memory(0));
    let negotiated = server.inner().get_ref().1;
    assert_eq!(negotiated.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(negotiated.alpn_protocol(), Some(ALPN));

    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"ping");
    server.write_all(b"pong").await.unwrap();
    server.shutdown().await.unwrap();
    received.clear();
    client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"pong");
    Ok(fingerprint)
}

#[tokio::test]
async fn identity_key_serves_tls_under_the_same_fingerprint() {
    let identity = identity();
    let acceptor = TlsAcceptor::self_signed(provider(), &identity).unwrap();
    assert_eq!(acceptor.fingerprint(), identity.fingerprint());
    for pin in [PinPolicy::exactly(identity.fingerprint()), PinPolicy::FirstContact] {
        for name in ["chat.example", "192.0.2.1", "::1"] {
            let seen = exchange(&acceptor, TlsTrust::Pin(pin.clone()), name).await.unwrap();
            assert_eq!(seen, identity.fingerprint());
        }
    }
    assert_eq!(
        identity.signatures(),
        1,
        "the identity signs only the certificate; the provider signs the handshakes"
    );
}

#[tokio::test]
async fn pin_mismatch_is_reported_with_the_presented_key() {
    let identity = identity();
    let acceptor = TlsAcceptor::self_signed(provider(), &identity).unwrap();
    let pin = PinPolicy::exactly(Fingerprint::from([3; 32]));
    let refused = exchange(&acceptor, TlsTrust::Pin(pin), "chat.example").await;
    match refused {
        Err(TlsError::PinMismatch { presented }) => assert_eq!(presented, identity.fingerprint()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn client_rejects_certificate_without_its_private_key() {
    // The pinned certificate is public, so an attacker can present it but cannot sign with its key.
    let certificate = certificate::self_signed(&identity()).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let key = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(rustls::pki_types::PrivatePkcs8KeyDer::from(other.serialize_der()).into())
        .unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate.into()], key));
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let pin = PinPolicy::exactly(identity().fingerprint());
    let connector = TlsConnector::new(provider(), TlsTrust::Pin(pin)).unwrap();
    let (ours, theirs) = pipe();
    let (client, _server) = tokio::join!(connector.connect("chat.example", ours), acceptor.accept(theirs));
    assert!(matches!(client, Err(TlsError::Certificate(_))), "{client:?}");
}

#[tokio::test]
async fn client_checks_given_chain_against_roots_or_pin() {
    let (root, chain, key) = issued();
    let acceptor = TlsAcceptor::from_pem(provider(), chain.as_bytes(), key.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let roots = TlsTrust::Roots(Arc::new(roots));
    let seen = exchange(&acceptor, roots.clone(), "chat.example").await.unwrap();
    assert_eq!(seen, acceptor.fingerprint());
    let pin = TlsTrust::Pin(PinPolicy::exactly(acceptor.fingerprint()));
    assert!(exchange(&acceptor, pin, "anything.example").await.is_ok());

    let refused = exchange(&acceptor, roots.clone(), "other.example").await;
    assert!(matches!(refused, Err(TlsError::Certificate(_))), "wrong name");
    let unknown = TlsAcceptor::self_signed(provider(), &identity()).unwrap();
    let refused = exchange(&unknown, roots, "chat.example").await;
    assert!(matches!(refused, Err(TlsError::Certificate(_))), "unknown authority");
}

/// Returns how a client that trusts `root`, and keys at first contact, authenticates the server.
async fn authenticate(
    acceptor: &TlsAcceptor,
    root: CertificateDer<'static>,
    name: &str,
) -> Result<AuthenticatedBy, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let trust = TlsTrust::RootsOrPin(Arc::new(roots), PinPolicy::FirstContact);
    let connector = TlsConnector::new(provider(), trust)?;
    let (ours, theirs) = pipe();
    let (client, _server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
    Ok(client?.authenticated_by)
}

#[tokio::test]
async fn client_considers_the_key_only_of_a_certificate_without_a_known_root() {
    let (root, chain, key) = issued();
    let acceptor = TlsAcceptor::from_pem(provider(), chain.as_bytes(), key.as_bytes()).unwrap();
    let by = authenticate(&acceptor, root.clone(), "chat.example").await.unwrap();
    assert_eq!(by, AuthenticatedBy::Authority);
    let refused = authenticate(&acceptor, root.clone(), "other.example").await;
    assert!(matches!(refused, Err(TlsError::Certificate(_))), "{refused:?}");
    let self_signed = TlsAcceptor::self_signed(provider(), &identity()).unwrap();
    let by = authenticate(&self_signed, root, "chat.example").await.unwrap();
    assert_eq!(by, AuthenticatedBy::Key);
    let (other_root, ..) = issued();
    let by = authenticate(&acceptor, other_root, "chat.example").await.unwrap();
    assert_eq!(by, AuthenticatedBy::Key);
}

#[test]
fn certificate_outside_its_validity_is_noticed() {
    let acceptor = |from: i32, until: i32| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec!["chat.example".to_owned()]).unwrap();
        leaf.not_before = rcgen::date_time_ymd(from, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = leaf.self_signed(&key).unwrap().pem();
        TlsAcceptor::from_pem(provider(), certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    assert!(acceptor(2020, 3020).is_certificate_valid_now());
    assert!(!acceptor(2020, 2021).is_certificate_valid_now(), "it has expired");
    assert!(!acceptor(3020, 3021).is_certificate_valid_now(), "it is not valid yet");
    assert!(
        TlsAcceptor::self_signed(provider(), &identity())
            .unwrap()
            .is_certificate_valid_now()
    );
}

#[tokio::test]
async fn reloaded_certificate_is_used_by_all_clones_and_an_unusable_one_by_none() {
    let (_, chain, key) = issued();
    let acceptor = TlsAcceptor::from_pem(provider(), chain.as_bytes(), key.as_bytes()).unwrap();
    let clone = acceptor.clone();
    let first = acceptor.fingerprint();
    let (_, other_chain, other_key) = issued();
    assert!(acceptor.reload_pem(other_chain.as_bytes(), key.as_bytes()).is_err());
    assert_eq!(clone.fingerprint(), first);
    acceptor
        .reload_pem(other_chain.as_bytes(), other_key.as_bytes())
        .unwrap();
    assert_ne!(clone.fingerprint(), first);
    let trust = TlsTrust::Pin(PinPolicy::exactly(clone.fingerprint()));
    exchange(&clone, trust, "chat.example").await.unwrap();
}

#[tokio::test]
async fn server_rejects_older_tls_and_other_alpn_protocols() {
    let acceptor = TlsAcceptor::self_signed(provider(), &identity()).unwrap();
    let client = |versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[u8]| {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        tokio_rustls::TlsConnector::from(Arc::new(config))
    };
    let old = client(&[&rustls::version::TLS12], ALPN);
    let other_protocol = client(&[&rustls::version::TLS13], b"h2");
    for (connector, expected) in [
        (old, "PeerIncompatible(Tls12NotOfferedOrEnabled)"),
        (other_protocol, "NoApplicationProtocol"),
    ] {
        let (ours, theirs) = pipe();
        let name = "chat.example".try_into().unwrap();
        let (_client, server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
        let error = server.unwrap_err();
        let reason: &rustls::Error = error.get_ref().unwrap().downcast_ref().unwrap();
        assert_eq!(format!("{reason:?}"), expected);
    }
}

#[tokio::test]
async fn stream_without_close_notify_ends_in_unexpected_eof() {
    let identity = identity();
    let acceptor = TlsAcceptor::self_signed(provider(), &identity).unwrap();
    let trust = TlsTrust::Pin(PinPolicy::exactly(identity.fingerprint()));
    let connector = TlsConnector::new(provider(), trust).unwrap();
    let (ours, theirs) = pipe();
    let (client, server) = tokio::join!(connector.connect("chat.example", ours), acceptor.accept(theirs));
    let mut server = server.unwrap();
    let mut client = client.unwrap().stream;
    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    let mut received = Vec::new();
    let error = server.read_to_end(&mut received).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(received, b"ping");
}

#[tokio::test]
async fn server_rejects_bytes_that_are_not_tls() {
    let acceptor = TlsAcceptor::self_signed(provider(), &identity()).unwrap();
    let (mut ours, theirs) = pipe();
    ours.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(acceptor.accept(theirs).await.is_err());
}

#[test]
fn acceptor_and_connector_reject_unusable_configuration() {
    let (_, chain, key) = issued();
    let (_, other_chain, _) = issued();
    let from_pem = |chain: &str, key: &str| TlsAcceptor::from_pem(provider(), chain.as_bytes(), key.as_bytes());
    assert!(matches!(from_pem("", &key), Err(TlsError::Pem(_))));
    assert!(matches!(from_pem(&chain, ""), Err(TlsError::Pem(_))));
    assert!(matches!(from_pem(&key, &chain), Err(TlsError::Pem(_))));
    assert!(matches!(from_pem(&other_chain, &key), Err(TlsError::Config(_))));
    let empty = TlsTrust::Roots(Arc::new(RootCertStore::empty()));
    assert!(matches!(TlsConnector::new(provider(), empty), Err(TlsError::Config(_))));
}

#[test]
fn self_signed_certificate_is_deterministic_and_validly_signed() {
    use rsa::{
        pkcs1v15::{Signature, VerifyingKey},
        pkcs8::DecodePublicKey as _,
        signature::Verifier as _,
    };
    let identity = identity();
    let certificate = certificate::self_signed(&identity).unwrap();
    assert_eq!(certificate, certificate::self_signed(&identity).unwrap());
    assert_eq!(
        fingerprint_of(&certificate.clone().into()).unwrap(),
        identity.fingerprint()
    );

    // The certificate is a SEQUENCE of three elements: the SEQUENCE to be signed, the algorithm (15
    // bytes), and a BIT STRING, which holds the number of unused bits (one byte) and the signature.
    // The tag and length of each element but the algorithm take 4 bytes; the last two are the
    // length.
    let length = usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    let (to_be_signed, rest) = certificate[4..].split_at(4 + length);
    let signature = Signature::try_from(&rest[15 + 5..]).unwrap();
    let key = rsa::RsaPublicKey::from_public_key_der(identity.spki()).unwrap();
    let key = VerifyingKey::<rsa::sha2::Sha256>::new(key);
    key.verify(to_be_signed, &signature).unwrap();
}
