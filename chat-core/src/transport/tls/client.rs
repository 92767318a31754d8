//! Client's side of TLS: [`TlsConnector`].

use std::{io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
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
    sync::Mutex,
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
    /// By a certificate for the server's name that chains to one of these roots, or otherwise by
    /// the server's key. A certificate that is not valid at this time, or that chains to a root but
    /// is for another name, is refused, whatever its key is.
    RootsOrPin(Arc<RootCertStore>, PinPolicy),
}

/// Method by which a server was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticatedBy {
    /// By its key, which the [`PinPolicy`] accepted.
    Key,
    /// By an authority: its certificate chains to a root and is for the server's name.
    Authority,
}

/// Client's side of TLS, which performs handshakes on streams to servers. Cheap to clone.
#[derive(Clone)]
pub struct TlsConnector {
    config: ClientConfig,
    checks: Checks,
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
    /// Method by which the server was authenticated.
    pub authenticated_by: AuthenticatedBy,
}

impl TlsConnector {
    /// Creates a connector to the servers that `trust` accepts.
    ///
    /// # Errors
    /// The provider does not support TLS 1.3, or the [`RootCertStore`] of `trust` is empty.
    pub fn new(provider: Arc<CryptoProvider>, trust: TlsTrust) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Config)?;
        let by_roots = |roots: Arc<RootCertStore>| {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            verifier.map_err(|error| TlsError::Config(rustls::Error::General(error.to_string())))
        };
        let (roots, pin) = match trust {
            TlsTrust::Pin(pin) => (None, Some(pin)),
            TlsTrust::Roots(roots) => (Some(by_roots(roots)?), None),
            TlsTrust::RootsOrPin(roots, pin) => (Some(by_roots(roots)?), Some(pin)),
        };
        let checks = Checks { roots, pin, provider };
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Verifier::new(checks.clone()))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed TLS session would skip the check of the server's key.
        config.resumption = Resumption::disabled();
        Ok(Self { config, checks })
    }

    /// Performs the client's part of the handshake with the server called `server_name` (a host
    /// name or an address, without a port). A server can delay it without end, so set a deadline.
    ///
    /// # Errors
    /// `server_name` is not a valid name; the server cannot be authenticated, or uses another
    /// protocol or an older version of TLS; or the stream fails or ends.
    pub async fn connect<T: Transport>(&self, server_name: &str, transport: T) -> Result<TlsConnected<T>, TlsError> {
        let peer = transport.peer();
        let name =
            ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::ServerName(server_name.to_owned()))?;
        // Each connection has a verifier of its own, which records how it decided.
        let verifier = Verifier::new(self.checks.clone());
        let mut config = self.config.clone();
        config.dangerous().set_certificate_verifier(Arc::clone(&verifier) as _);
        let connecting = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, transport);
        let stream = connecting.await.map_err(unwrap_certificate_error)?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let leaf = leaf.ok_or(TlsError::Config(rustls::Error::NoCertificatesPresented))?;
        let fingerprint = fingerprint_of(leaf).map_err(TlsError::Config)?;
        let authenticated_by = *verifier.verdict.lock();
        Ok(TlsConnected {
            stream: Stream::new(stream, peer),
            fingerprint,
            authenticated_by: authenticated_by.ok_or(TlsError::Config(rustls::Error::NoCertificatesPresented))?,
        })
    }
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConnector").finish_non_exhaustive()
    }
}

/// Converts the error of a handshake. If the certificate was refused, returns
/// [`TlsError::PinMismatch`] or [`TlsError::Certificate`].
fn unwrap_certificate_error(error: io::Error) -> TlsError {
    let refused = error.get_ref().and_then(|inner| match inner.downcast_ref()? {
        rustls::Error::InvalidCertificate(refused) => Some(refused.clone()),
        _ => None,
    });
    let Some(refused) = refused else {
        return TlsError::Handshake(error);
    };
    if let CertificateError::Other(other) = &refused
        && let Some(HandshakeError::PinMismatch { presented }) = other.0.downcast_ref()
    {
        return TlsError::PinMismatch { presented: *presented };
    }
    TlsError::Certificate(refused)
}

/// Returns whether `refused`, the error of the check against the roots, forbids the client to
/// accept the certificate by its key instead. It does so if the certificate may chain to a root.
const fn rules_out_pin(refused: &CertificateError) -> bool {
    matches!(
        refused,
        CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
            | CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Revoked
    )
}

/// The checks of a [`TlsTrust`]: against roots, against pins, or both.
#[derive(Debug, Clone)]
struct Checks {
    roots: Option<Arc<WebPkiServerVerifier>>,
    pin: Option<PinPolicy>,
    provider: Arc<CryptoProvider>,
}

/// Verifier of one connection. It accepts a certificate by its chain to a root or by its key, and a
/// handshake by its signature with that key.
#[derive(Debug)]
struct Verifier {
    checks: Checks,
    /// How the certificate was accepted; `None` until it is.
    verdict: Mutex<Option<AuthenticatedBy>>,
}

impl Verifier {
    fn new(checks: Checks) -> Arc<Self> {
        Arc::new(Self {
            checks,
            verdict: Mutex::default(),
        })
    }

    fn accept(&self, by: AuthenticatedBy) -> ServerCertVerified {
        *self.verdict.lock() = Some(by);
        ServerCertVerified::assertion()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let refused = match &self.checks.roots {
            Some(roots) => match roots.verify_server_cert(end_entity, intermediates, server_name, &[], now) {
                Ok(_) => return Ok(self.accept(AuthenticatedBy::Authority)),
                Err(refused) => Some(refused),
            },
            None => None,
        };
        match (refused, &self.checks.pin) {
            (Some(rustls::Error::InvalidCertificate(refused)), Some(_)) if rules_out_pin(&refused) => {
                Err(refused.into())
            }
            (_, Some(pin)) => {
                let presented = fingerprint_of(end_entity)?;
                if pin.accepts(&presented) {
                    return Ok(self.accept(AuthenticatedBy::Key));
                }
                let mismatch = HandshakeError::PinMismatch { presented };
                Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
            }
            (Some(refused), None) => Err(refused),
            (None, None) => Err(rustls::Error::General("the client trusts no server".to_owned())),
        }
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
        let algorithms = &self.checks.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.checks
            .provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
