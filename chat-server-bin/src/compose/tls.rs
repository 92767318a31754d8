//! The TLS certificate of the server.

use std::path::Path;
use std::sync::Arc;

use chat_core::secure::ServerIdentity;
use chat_core::transport::tls::{TlsAcceptor, TlsError};

use super::{Composition, non_empty, read_file};
use crate::config::{CheckedConfig, Scheme};
use crate::failure::{Failure, chain};
use crate::hardening;

impl Composition {
    /// Reads the files of the TLS certificate and its key again, for new connections. The server
    /// keeps the certificate that it has if the files are unusable, or if the new certificate is
    /// not valid now and the present one is. Does nothing if no `tls://` listener uses a configured
    /// certificate. Logs the result.
    pub(crate) fn reload_certificate(&self, config: &CheckedConfig) {
        let Some(acceptor) = &self.certificate_acceptor else {
            tracing::info!(
                "SIGHUP: no tls:// listener uses a configured certificate, so there is nothing to load; SIGTERM stops the server"
            );
            return;
        };
        let files = &config.settings.tls;
        let reloaded = hardening::check_key(&files.key_file).and_then(|()| {
            let (certificate, key) = (read_file(&files.certificate_file)?, read_file(&files.key_file)?);
            let loaded = TlsAcceptor::from_pem(crypto_provider(), &certificate, &key);
            let loaded = loaded.map_err(|error| unusable(config, &error))?;
            if !loaded.is_certificate_valid_now() && acceptor.is_certificate_valid_now() {
                return Err(Failure::config(format!(
                    "{} has expired, or is not valid yet",
                    files.certificate_file.display()
                )));
            }
            warn_if_invalid(&loaded, &files.certificate_file);
            acceptor
                .reload_pem(&certificate, &key)
                .map_err(|error| unusable(config, &error))
        });
        match reloaded {
            Ok(()) => tracing::info!(
                fingerprint = %acceptor.fingerprint(),
                "the TLS certificate was loaded again; the rest of the configuration needs a restart"
            ),
            Err(error) => tracing::error!(
                error = %error,
                "the TLS certificate cannot be loaded again; the server keeps the one that it has"
            ),
        }
    }
}

/// Returns the TLS acceptor, with the configured certificate or, without one, with a self-signed
/// certificate of the identity key. Returns `None` if no listener uses TLS.
pub(super) fn tls_acceptor(
    config: &CheckedConfig,
    identity: &ServerIdentity,
) -> Result<Option<Arc<TlsAcceptor>>, Failure> {
    if !config.listen.iter().any(|listen| listen.scheme == Scheme::Tls) {
        return Ok(None);
    }
    let acceptor = match pem_acceptor(config)? {
        Some(acceptor) => acceptor,
        None => {
            TlsAcceptor::self_signed(crypto_provider(), identity).map_err(|error| Failure::config(chain(&error)))?
        }
    };
    Ok(Some(Arc::new(acceptor)))
}

/// Returns the TLS acceptor with the configured certificate, or `None` if there is none. Logs a
/// warning if the certificate is not valid now.
pub(super) fn pem_acceptor(config: &CheckedConfig) -> Result<Option<TlsAcceptor>, Failure> {
    let files = &config.settings.tls;
    let Some(certificate_file) = non_empty(&files.certificate_file) else {
        return Ok(None);
    };
    hardening::check_key(&files.key_file)?;
    let (certificate, key) = (read_file(certificate_file)?, read_file(&files.key_file)?);
    let acceptor =
        TlsAcceptor::from_pem(crypto_provider(), &certificate, &key).map_err(|error| unusable(config, &error))?;
    warn_if_invalid(&acceptor, certificate_file);
    Ok(Some(acceptor))
}

fn warn_if_invalid(acceptor: &TlsAcceptor, certificate_file: &Path) {
    if !acceptor.is_certificate_valid_now() {
        tracing::warn!(
            file = %certificate_file.display(),
            "the TLS certificate has expired, or is not valid yet: clients refuse it, unless they trust it by its key alone"
        );
    }
}

/// Returns the failure for files of a certificate and a key that cannot be used.
fn unusable(config: &CheckedConfig, error: &TlsError) -> Failure {
    let files = &config.settings.tls;
    Failure::config(format!(
        "tls.certificate_file {}, tls.key_file {}: {}",
        files.certificate_file.display(),
        files.key_file.display(),
        chain(error)
    ))
}

fn crypto_provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
