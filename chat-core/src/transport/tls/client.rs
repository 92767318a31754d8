//! Client's side of TLS: [`TlsConnector`].

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use tokio_rustls::client::TlsStream;

use super::{ALPN, TlsError, fingerprint_of};
use crate::{
    secure::{Fingerprint, HandshakeError, PinPolicy},
    transport::{Stream, Transport},
};

/// Method by which a client authenticates a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TlsTrust {
    /// By the server's key, as with SC1. Names and dates in the certificate do not matter.
    Pin(PinPolicy),
    /// By a certificate for the server's name that chains to one of these roots.
    Roots(Arc<RootCertStore>),
}

/// Client's side of TLS, which performs handshakes on streams to servers. Cheap to clone.
#[derive(Clone)]
pub struct TlsConnector {
    inner: tokio_rustls::TlsConnector,
}

/// Established TLS connection.
#[derive(Debug)]
pub struct TlsConnected<T> {
    /// The connection. Shut it down at the end: this sends `close_notify`, by which the server
    /// knows that the stream is complete.
    pub stream: Stream<TlsStream<T>>,
    /// Fingerprint of the server's key. After [`PinPolicy::FirstContact`], store it before sending
    /// anything.
    pub fingerprint: Fingerprint,
}

impl TlsConnector {
    /// Creates a connector to the servers that `trust` accepts.
    ///
    /// # Errors
    /// The provider does not support TLS 1.3, or `trust` has no roots.
    pub fn new(provider: Arc<CryptoProvider>, trust: TlsTrust) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?;
        let builder = match trust {
            TlsTrust::Pin(pin) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(PinVerifier { pin, provider })),
            TlsTrust::Roots(roots) if roots.is_empty() => {
                return Err(TlsError::Config(rustls::Error::General(
                    "no root certificates were given".to_owned(),
                )));
            }
            TlsTrust::Roots(roots) => builder.with_root_certificates(roots),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed TLS session would skip the check of the server's key.
        config.resumption = Resumption::disabled();
        Ok(Self {
            inner: Arc::new(config).into(),
        })
    }

    /// Performs the client's part of the handshake with the server called `server_name` (a host
    /// name or an address, without a port). A server can delay it without end, so set a deadline.
    ///
    /// # Errors
    /// `server_name` is not a valid name, or the server cannot be authenticated, uses another
    /// protocol or an older version of TLS, or closed the connection.
    pub async fn connect<T: Transport>(&self, server_name: &str, transport: T) -> Result<TlsConnected<T>, TlsError> {
        let peer = transport.peer();
        let name =
            ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::ServerName(server_name.to_owned()))?;
        let stream = self.inner.connect(name, transport).await.map_err(unwrap_pin_mismatch)?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = certificate.ok_or(TlsError::Config(rustls::Error::NoCertificatesPresented))?;
        let fingerprint = fingerprint_of(certificate).map_err(TlsError::Config)?;
        Ok(TlsConnected {
            stream: Stream::new(stream, peer),
            fingerprint,
        })
    }
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

/// Converts the error of a handshake. If the TLS library wrapped a pin mismatch in it, returns
/// [`TlsError::PinMismatch`].
fn unwrap_pin_mismatch(error: io::Error) -> TlsError {
    let cause = error.get_ref().and_then(|inner| match inner.downcast_ref()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    });
    match cause {
        Some(HandshakeError::PinMismatch { presented }) => TlsError::PinMismatch { presented: *presented },
        _ => TlsError::Handshake(error),
    }
}

/// Verifier that accepts a certificate by its key, and a handshake by its signature with that key.
#[derive(Debug)]
struct PinVerifier {
    pin: PinPolicy,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let presented = fingerprint_of(end_entity)?;
        if self.pin.accepts(&presented) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = HandshakeError::PinMismatch { presented };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("the client does not offer TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
