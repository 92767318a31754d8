//! The authorities whose certificates vouch for `tls://` servers.

use std::path::Path;
use std::sync::Arc;

use chat_core::secure::Fingerprint;
use chat_core::transport::tls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::failure::Failure;

/// Returns the authorities in the file that `--ca` names. Without a file, returns those in the
/// places that `SSL_CERT_FILE` and `SSL_CERT_DIR` name or, if neither is set, those of the
/// platform; `None` if the platform has none.
///
/// # Errors
/// The file cannot be read or used, or one of these variables is set and no certificate in the
/// places that they name can be used.
pub(crate) fn load(file: Option<&Path>) -> Result<Option<Arc<RootCertStore>>, Failure> {
    let roots = match file {
        Some(file) => from_file(file)?,
        None => from_platform()?,
    };
    Ok(Some(roots).filter(|roots| !roots.is_empty()).map(Arc::new))
}

/// Returns the SHA-256 digest of the file that `--ca` names.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn digest(file: &Path) -> Result<Fingerprint, Failure> {
    match std::fs::read(file) {
        Ok(content) => Ok(Fingerprint::sha256_of(&content)),
        Err(error) => Err(Failure::usage(format!("--ca {}: {error}", file.display()))),
    }
}

fn from_file(file: &Path) -> Result<RootCertStore, Failure> {
    let unusable = |problem: String| Failure::usage(format!("--ca {}: {problem}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| unusable(format!("cannot read certificates in PEM: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(format!("a certificate cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(unusable("the file contains no certificate in PEM".to_owned()));
    }
    Ok(roots)
}

fn from_platform() -> Result<RootCertStore, Failure> {
    let loaded = rustls_native_certs::load_native_certs();
    let has_variable = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    let mut roots = RootCertStore::empty();
    // A platform's collection may contain certificates that rustls does not understand.
    roots.add_parsable_certificates(loaded.certs);
    if has_variable && roots.is_empty() {
        let problem = loaded
            .errors
            .first()
            .map_or_else(|| "no certificate was found".to_owned(), ToString::to_string);
        return Err(Failure::usage(format!(
            "SSL_CERT_FILE or SSL_CERT_DIR: no certificate can be used: {problem}"
        )));
    }
    Ok(roots)
}
