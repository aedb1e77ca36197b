//! Whose certificates are believed, and which one is shown.

use std::{fmt::Display, sync::Arc};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;

use super::FeedError;

/// TLS with the system's certificate authorities and these, and with a certificate of this server's own if there is one: PEM
/// files' contents, certificate and key.
pub(super) fn client(extra_ca: &[Vec<u8>], own: Option<&(Vec<u8>, Vec<u8>)>) -> Result<Arc<ClientConfig>, FeedError> {
    fn setting<E: Display>(key: &'static str) -> impl Fn(E) -> FeedError {
        move |error| FeedError::Setting(key, error.to_string())
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = Vec::new();
    for pem in extra_ca {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.push(certificate.map_err(setting("extra_ca"))?);
        }
    }
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider)).map_err(setting("extra_ca"))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(setting("tls"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
            let chain = chain.map_err(setting("client_certificate.cert"))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(setting("client_certificate.key"))?;
            config.with_client_auth_cert(chain, key).map_err(setting("client_certificate"))?
        }
    };
    Ok(Arc::new(config))
}
