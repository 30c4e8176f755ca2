//! TLS to servers that are named by an address: the public certificate authorities, or those of a
//! file.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

/// Trusts the certificates of `ca_file` (PEM), or the public ones where there is none.
///
/// # Errors
///
/// The file cannot be read or has no certificate.
pub(crate) fn connector(ca_file: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let read = || format!("`--ca-file`: read certificates from `{}`", file.display());
            for certificate in CertificateDer::pem_file_iter(file).with_context(read)? {
                roots.add(certificate.with_context(read)?).with_context(read)?;
            }
            ensure!(!roots.is_empty(), "`--ca-file`: no certificate in `{}`", file.display());
        }
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
