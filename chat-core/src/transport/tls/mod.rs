//! TLS 1.3 beside SC1: for the public internet, for proxies that end TLS, for those who want reviewed standard tools.
//!
//! A server uses a certificate it was given, or one that its identity key signs for itself, so that SC1 and TLS show the same
//! [`Fingerprint`]. A client checks that fingerprint against its pins, or a certificate chain against the roots it was given.
//! The cryptography comes from the caller as a [`CryptoProvider`]: nothing here installs or reads a process-wide one.
//!
//! What SC1 does and TLS need not: rekeying is TLS's own, and a stream without `close_notify` ends in
//! [`std::io::ErrorKind::UnexpectedEof`], which is SC1's `Truncated`.

mod certificate;
mod client;
mod server;
#[cfg(test)]
mod tests;

use rustls::{pki_types::CertificateDer, server::ParsedCertificate};

use crate::secure::{Fingerprint, IdentityError};

pub use client::{TlsConnected, TlsConnector, TlsTrust};
pub use rustls::crypto::CryptoProvider;
pub use server::TlsAcceptor;

/// The application protocol both sides name (ALPN), so that a server of something else is noticed.
pub const ALPN: &[u8] = b"chat/1";

/// Why TLS could not be set up or agreed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate chain or private key file is not PEM of the right kind.
    #[error("certificate or key is not usable PEM: {0}")]
    Pem(String),
    /// The library refuses the configuration: the key does not belong to the certificate, the provider lacks TLS 1.3, …
    #[error("TLS configuration")]
    Config(#[source] rustls::Error),
    /// The identity key could not sign or be exported.
    #[error("certificate for the identity key")]
    Identity(#[from] IdentityError),
    /// The name to connect to is neither a host name nor an address.
    #[error("{0:?} is not a server name")]
    ServerName(String),
    /// The server's key is not the expected one. Nothing was sent to it.
    #[error("server key {presented} is not the pinned one")]
    PinMismatch {
        /// The key the server showed.
        presented: Fingerprint,
    },
    /// The handshake failed, or the stream under it.
    #[error("TLS handshake")]
    Handshake(#[source] std::io::Error),
}

/// The fingerprint of a certificate's key.
fn fingerprint_of(certificate: &CertificateDer<'_>) -> Result<Fingerprint, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Fingerprint::of_spki(&parsed.subject_public_key_info()))
}
