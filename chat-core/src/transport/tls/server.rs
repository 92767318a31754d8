//! Server's side of TLS: [`TlsAcceptor`].

use std::{io, sync::Arc};

use rustls::{
    CertificateError, Error, RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    version::TLS13,
};
use tokio_rustls::server::TlsStream;

use super::{ALPN, TlsError, certificate, fingerprint_of};
use crate::{
    secure::{Fingerprint, ServerIdentity},
    sync::RwLock,
    transport::{Stream, Transport},
};

/// Server's side of TLS, which performs handshakes on accepted streams. Clones share the
/// certificate, which can be [replaced](Self::reload_pem).
#[derive(Clone)]
pub struct TlsAcceptor {
    provider: Arc<CryptoProvider>,
    current: Arc<RwLock<Certified>>,
}

/// The configuration with one certificate, and the fingerprint of its key.
#[derive(Clone)]
struct Certified {
    acceptor: tokio_rustls::TlsAcceptor,
    fingerprint: Fingerprint,
    leaf: CertificateDer<'static>,
}

impl TlsAcceptor {
    /// Creates an acceptor with a certificate chain (leaf first) and its private key, both in PEM.
    ///
    /// # Errors
    /// A text is not PEM of the right kind, the leaf is malformed, the key does not fit the leaf or
    /// the provider, or the provider does not support TLS 1.3. The other certificates of the chain
    /// are not checked.
    pub fn from_pem(provider: Arc<CryptoProvider>, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let certified = Certified::from_pem(&provider, chain, key)?;
        Ok(Self::new(provider, certified))
    }

    /// Replaces the certificate chain and its key, as [`from_pem`](Self::from_pem) reads them, for
    /// all clones. Handshakes that start afterwards use the new certificate; open connections stay.
    ///
    /// # Errors
    /// As for [`from_pem`](Self::from_pem). The acceptor then keeps its certificate.
    pub fn reload_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        *self.current.write() = Certified::from_pem(&self.provider, chain, key)?;
        Ok(())
    }

    /// Creates an acceptor with the identity key, which SC1 also uses, and a self-signed
    /// certificate of it, for clients that pin the key.
    ///
    /// The provider, not the `rsa` crate, performs the private-key operations of handshakes.
    ///
    /// # Errors
    /// The key cannot sign or be exported, the provider does not accept it, or the provider does
    /// not support TLS 1.3.
    pub fn self_signed(provider: Arc<CryptoProvider>, identity: &ServerIdentity) -> Result<Self, TlsError> {
        let certificate = certificate::self_signed(identity)?;
        let key = PrivatePkcs8KeyDer::from(identity.to_pkcs8_der()?.to_vec());
        let certified = Certified::new(&provider, vec![certificate.into()], key.into())?;
        Ok(Self::new(provider, certified))
    }

    /// Returns the fingerprint of the certificate's key, for clients that pin it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.current.read().fingerprint
    }

    /// Returns whether the certificate is valid at this time: its validity has begun and has not
    /// ended. Otherwise clients refuse it, unless they trust it by its key alone.
    #[must_use]
    pub fn is_certificate_valid_now(&self) -> bool {
        let leaf = self.current.read().leaf.clone();
        is_valid_at(&leaf, &self.provider, UnixTime::now())
    }

    /// Performs the server's part of the handshake. A peer can delay it without end, so set a
    /// deadline.
    ///
    /// # Errors
    /// The peer uses another protocol or an older version of TLS, or refuses the certificate, or
    /// the stream fails or ends.
    pub async fn accept<T: Transport>(&self, transport: T) -> io::Result<Stream<TlsStream<T>>> {
        let peer = transport.peer();
        let acceptor = self.current.read().acceptor.clone();
        let stream = acceptor.accept(transport).await?;
        Ok(Stream::new(stream, peer))
    }

    fn new(provider: Arc<CryptoProvider>, certified: Certified) -> Self {
        Self {
            provider,
            current: Arc::new(RwLock::new(certified)),
        }
    }
}

impl Certified {
    fn from_pem(provider: &Arc<CryptoProvider>, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError::Pem(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem(error.to_string()))?;
        Self::new(provider, chain, key)
    }

    fn new(
        provider: &Arc<CryptoProvider>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let leaf = chain.first();
        let leaf = leaf.ok_or_else(|| TlsError::Pem("the chain has no certificate".to_owned()))?;
        let fingerprint = fingerprint_of(leaf).map_err(TlsError::Config)?;
        let leaf = leaf.clone();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Config)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Clients resume their chat sessions by token and cursors, so TLS tickets would only cost
        // memory. 0-RTT data is refused, because an attacker can replay it.
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self {
            acceptor: Arc::new(config).into(),
            fingerprint,
            leaf,
        })
    }
}

/// Returns whether the validity of a certificate includes `time`. The verifier checks the validity
/// before it looks for an issuer. The verification always fails, because there are no roots, so
/// only its error tells whether `time` is outside the validity.
fn is_valid_at(certificate: &CertificateDer<'_>, provider: &CryptoProvider, time: UnixTime) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else {
        return false;
    };
    let algorithms = provider.signature_verification_algorithms.all;
    let verified = verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], time, algorithms);
    !matches!(
        verified,
        Err(Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ))
    )
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}
