//! [`TlsAcceptor`]: the server's side of TLS.

use std::{io, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    version::TLS13,
};
use tokio_rustls::server::TlsStream;

use super::{ALPN, TlsError, certificate, fingerprint_of};
use crate::{
    secure::{Fingerprint, ServerIdentity},
    transport::{Stream, Transport},
};

/// Performs TLS handshakes on accepted streams. Cheap to clone.
#[derive(Clone)]
pub struct TlsAcceptor {
    inner: tokio_rustls::TlsAcceptor,
    fingerprint: Fingerprint,
}

impl TlsAcceptor {
    /// Uses a certificate chain (leaf first) and its private key, both in PEM.
    ///
    /// # Errors
    /// The texts are not PEM, or the key does not fit the certificate or the provider.
    pub fn from_pem(provider: Arc<CryptoProvider>, chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError::Pem(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem(error.to_string()))?;
        Self::new(provider, chain, key)
    }

    /// Uses the identity key of SC1 with a certificate that it signs for itself, for clients that
    /// pin the key.
    ///
    /// The provider performs the private-key operations of handshakes, not the `rsa` crate.
    ///
    /// # Errors
    /// The key cannot sign, or the provider does not accept it.
    pub fn self_signed(provider: Arc<CryptoProvider>, identity: &ServerIdentity) -> Result<Self, TlsError> {
        let certificate = certificate::self_signed(identity)?;
        let key = PrivatePkcs8KeyDer::from(identity.to_pkcs8_der()?.to_vec());
        Self::new(provider, vec![certificate.into()], key.into())
    }

    /// Returns the fingerprint of the certificate's key, for clients that pin it.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Performs the server's part of the handshake. A peer can delay it without end, so set a
    /// deadline.
    ///
    /// # Errors
    /// The peer uses another protocol or an older version of TLS, or went away.
    pub async fn accept<T: Transport>(&self, transport: T) -> io::Result<Stream<TlsStream<T>>> {
        let peer = transport.peer();
        let stream = self.inner.accept(transport).await?;
        Ok(Stream::new(stream, peer))
    }

    fn new(
        provider: Arc<CryptoProvider>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let leaf = chain.first();
        let leaf = leaf.ok_or_else(|| TlsError::Pem("the chain has no certificate".to_owned()))?;
        let fingerprint = fingerprint_of(leaf).map_err(TlsError::Config)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(TlsError::Config)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Sessions are resumed by token and cursors, so tickets would only cost memory. 0-RTT data
        // can be replayed.
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self {
            inner: Arc::new(config).into(),
            fingerprint,
        })
    }
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
