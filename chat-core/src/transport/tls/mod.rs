//! TLS 1.3, as an alternative to SC1: for the public internet, for proxies that terminate TLS, and
//! for deployments that require a standard protocol.
//!
//! A server uses a given certificate, or a self-signed certificate of its identity key. With the
//! latter, SC1 and TLS have the same [`Fingerprint`]. A client checks the fingerprint of a server
//! against its pins, or a certificate chain against given roots. The caller passes in a
//! [`CryptoProvider`]; this module neither installs nor reads a process-wide provider.
//!
//! The TLS library renews the keys of a connection by itself. A stream that ends without
//! `close_notify` fails with [`std::io::ErrorKind::UnexpectedEof`], as an SC1 stream without a
//! close record fails with `OpenError::Truncated`.

#[cfg(feature = "server")]
mod certificate;
mod client;
#[cfg(feature = "server")]
mod server;
#[cfg(test)]
mod tests;

use rustls::{pki_types::CertificateDer, server::ParsedCertificate};

use crate::secure::{Fingerprint, IdentityError};

pub use client::{AuthenticatedBy, TlsConnected, TlsConnector, TlsTrust};
pub use rustls::RootCertStore;
pub use rustls::crypto::CryptoProvider;
#[cfg(feature = "server")]
pub use server::TlsAcceptor;

/// Name of the application protocol, which both sides negotiate (ALPN). A server refuses a client
/// that offers only other protocols. A peer that does not use ALPN is accepted.
pub const ALPN: &[u8] = b"chat/1";

/// Error of TLS configuration or of a TLS handshake.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate chain or the private key is not PEM of the right kind.
    #[error("the certificate or key is not usable PEM: {0}")]
    Pem(String),
    /// The TLS library rejects the configuration: the key does not belong to the certificate, a
    /// certificate is malformed, there are no root certificates, or the provider lacks TLS 1.3.
    #[error("the TLS configuration is invalid")]
    Config(#[source] rustls::Error),
    /// The identity key cannot sign its certificate or be exported.
    #[error("the identity key cannot be used for TLS")]
    Identity(#[from] IdentityError),
    /// The name to connect to is neither a host name nor an address.
    #[error("{0:?} is not a valid server name")]
    ServerName(String),
    /// The server's certificate is not valid, for example not issued by a trusted authority, issued
    /// for another name, or not valid at this time; or the server does not have the private key of
    /// the certificate. No application data was sent.
    #[error("the server's certificate is not valid: {0}")]
    Certificate(rustls::CertificateError),
    /// The server's key is not a pinned one. No application data was sent.
    #[error("the server's key {presented} is not the pinned key")]
    PinMismatch {
        /// Fingerprint of the key that the server presented.
        presented: Fingerprint,
    },
    /// The handshake or the stream below it failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] std::io::Error),
}

/// Returns the fingerprint of a certificate's key.
fn fingerprint_of(certificate: &CertificateDer<'_>) -> Result<Fingerprint, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Fingerprint::sha256_of(&parsed.subject_public_key_info()))
}
