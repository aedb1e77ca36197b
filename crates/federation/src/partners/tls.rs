//! TLS towards other servers: whose certificates are believed, and what this server shows of itself.

use std::{error::Error, fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use sha2::{Digest as _, Sha256};

use super::{PartnerError, dns::RefusedAddress};

/// What identifies a certificate: SHA-256 of its public key (SubjectPublicKeyInfo) or of itself, 32 bytes.
pub type Pin = [u8; 32];

/// Reads a pin: 32 bytes as base64 or as hexadecimal digits, with or without colons, with or without `sha256/` before.
pub fn parse_pin(text: &str) -> Option<Pin> {
    let text = text.trim();
    let text = text.strip_prefix("sha256/").or_else(|| text.strip_prefix("sha256:")).unwrap_or(text);
    if let Some(pin) = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()) {
        return Some(pin);
    }
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect();
    bytes?.try_into().ok()
}

/// How this server proves and checks who is who.
pub(crate) struct TlsSettings<'a> {
    pub(crate) verify_certificates: bool,
    /// PEM files' contents.
    pub(crate) extra_ca: &'a [Vec<u8>],
    /// Certificate chain and key as PEM, shown to servers that ask for one.
    pub(crate) client_certificate: Option<&'a (Vec<u8>, Vec<u8>)>,
}

/// Makes the configurations of TLS clients.
pub(crate) struct Tls {
    verifier: Arc<dyn ServerCertVerifier>,
    client_certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("client_certificate", &self.client_certificate.is_some()).finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn new(settings: &TlsSettings<'_>) -> Result<Self, PartnerError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = Vec::new();
        for pem in settings.extra_ca {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                roots.push(certificate.map_err(|error| setting("federation.extra_ca", &error))?);
            }
        }
        let verifier: Arc<dyn ServerCertVerifier> = if settings.verify_certificates {
            let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
            Arc::new(verifier.map_err(|error| setting("federation.extra_ca", &error))?)
        } else {
            Arc::new(Unverified(Arc::clone(&provider)))
        };
        let client_certificate = match settings.client_certificate {
            Some((chain, key)) => {
                let failed = |error| setting("federation.client_certificate", &error);
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
                Some((chain.map_err(failed)?, PrivateKeyDer::from_pem_slice(key).map_err(failed)?))
            }
            None => None,
        };
        Ok(Self { verifier, client_certificate, provider })
    }

    /// The configuration for a server; with pins, its certificate must be one of them besides.
    pub(crate) fn config(&self, pins: &[Pin]) -> Result<ClientConfig, PartnerError> {
        let verifier: Arc<dyn ServerCertVerifier> = if pins.is_empty() {
            Arc::clone(&self.verifier)
        } else {
            Arc::new(Pinned { inner: Arc::clone(&self.verifier), pins: pins.to_vec() })
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| setting("federation", &error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match &self.client_certificate {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| setting("federation.client_certificate", &error)),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

fn setting(key: &str, error: &dyn Error) -> PartnerError {
    PartnerError::Setting(format!("{key}: {error}"))
}

/// Asks the usual verifier, and then for a certificate that was agreed on.
#[derive(Debug)]
struct Pinned {
    inner: Arc<dyn ServerCertVerifier>,
    pins: Vec<Pin>,
}

/// The certificate is not one that was agreed on with the partner.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is not the pinned one (federation.partner)")]
pub(crate) struct NotPinned;

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let shown = [<Pin>::from(Sha256::digest(end_entity)), <Pin>::from(Sha256::digest(&key))];
        if shown.iter().any(|pin| self.pins.contains(pin)) {
            Ok(verified)
        } else {
            Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Believes any certificate: `federation.verify_certificates = false`, for tests only.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a request failed, in words an operator can use: the innermost cause, which names the step that failed.
pub(crate) fn sentence(error: &reqwest::Error) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    loop {
        if cause.is::<RefusedAddress>() || cause.is::<NotPinned>() {
            return cause.to_string();
        }
        // rustls keeps other errors inside of its own without calling them sources.
        if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(inner))) = cause.downcast_ref() {
            return inner.0.to_string();
        }
        // What an I/O error wraps is not its source but its inside.
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inside.map(|inside| inside as &(dyn Error + 'static)).or_else(|| cause.source()) {
            Some(next) => cause = next,
            None => break,
        }
    }
    if error.is_timeout() { "it did not answer in time".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::parse_pin;

    #[test]
    fn pins_are_read_as_people_write_them() {
        let pin = [0xab; 32];
        let hex = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let base64 = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";
        for text in [hex.as_str(), &colons, base64, &format!("sha256/{base64}"), &format!(" sha256:{hex} ")] {
            assert_eq!(parse_pin(text), Some(pin), "{text}");
        }
        for text in ["", "ab", "zz", &"ab".repeat(31), &"a".repeat(63), "sha256/"] {
            assert_eq!(parse_pin(text), None, "{text}");
        }
    }
}
