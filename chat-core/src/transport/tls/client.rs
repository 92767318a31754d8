//! The client's side of TLS.

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

/// How a client knows that it talks to the right server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TlsTrust {
    /// By the key itself, as with SC1; names and dates in the certificate do not matter.
    Pin(PinPolicy),
    /// By a chain from one of these roots to a certificate for the server's name.
    Roots(Arc<RootCertStore>),
}

/// Makes TLS of streams to servers. Cheap to clone.
#[derive(Clone)]
pub struct TlsConnector {
    inner: tokio_rustls::TlsConnector,
}

/// An agreed TLS connection.
#[derive(Debug)]
pub struct TlsConnected<T> {
    /// The connection; shut it down to tell the server that nothing is missing.
    pub stream: Stream<TlsStream<T>>,
    /// The server's key. After [`PinPolicy::FirstContact`], store it before anything is sent.
    pub fingerprint: Fingerprint,
}

impl TlsConnector {
    /// Prepares connections to servers that `trust` allows.
    ///
    /// # Errors
    /// The provider cannot do TLS 1.3, or `trust` has no roots.
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
                    "no root certificates".to_owned(),
                )));
            }
            TlsTrust::Roots(roots) => builder.with_root_certificates(roots),
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Each connection checks the key anew.
        config.resumption = Resumption::disabled();
        Ok(Self {
            inner: Arc::new(config).into(),
        })
    }

    /// Does the client's part of the handshake with the server called `server_name` (a host name or an address, without a port). A server may
    /// take for ever: give it a deadline.
    ///
    /// # Errors
    /// The server is not who it should be, speaks something else, or went away.
    pub async fn connect<T: Transport>(&self, server_name: &str, transport: T) -> Result<TlsConnected<T>, TlsError> {
        let peer = transport.peer();
        let name =
            ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::ServerName(server_name.to_owned()))?;
        let stream = self.inner.connect(name, transport).await.map_err(explain)?;
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

/// Finds a refused pin again in what the TLS library made of it.
fn explain(error: io::Error) -> TlsError {
    let refused = error.get_ref().and_then(|inner| match inner.downcast_ref()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    });
    match refused {
        Some(HandshakeError::PinMismatch { presented }) => TlsError::PinMismatch { presented: *presented },
        _ => TlsError::Handshake(error),
    }
}

/// Accepts a certificate for its key, and the handshake for its signature by that key.
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
        let refused = HandshakeError::PinMismatch { presented };
        Err(CertificateError::Other(OtherError(Arc::new(refused))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not offered".to_owned()))
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
