//! Certificates of TLS listeners.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

use crate::config::listener::Tls;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("listener.tls.{key} {}", path.display())]
    File { key: &'static str, path: PathBuf, source: pem::Error },
    #[error("listener.tls.cert {}: no certificate in it", .0.display())]
    Empty(PathBuf),
    #[error("listener.tls: certificate {} and key {} do not work", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// Reads certificate and key: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
pub(super) fn read(tls: &Tls) -> Result<Arc<ServerConfig>, CertificateError> {
    let failed = |key: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| CertificateError::File { key, path, source }
    };
    let chain = CertificateDer::pem_file_iter(&tls.cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(failed("cert", &tls.cert))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(tls.cert.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(failed("key", &tls.key))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let pair = |source| CertificateError::Pair { cert: tls.cert.clone(), key: tls.key.clone(), source };
    let mut config = config.map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
