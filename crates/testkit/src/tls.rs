//! Certificates of the tests' own, made anew in each run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// The names that servers under test have.
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// The authority that all servers of a test process trust when they speak to each other.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "authority of the tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key can be made");
    CertifiedIssuer::self_signed(params, key).expect("an authority can be made")
});

/// A certificate for `localhost` and 127.0.0.1 and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificate that clients have to trust: the authority's, or the same one if it is self-signed.
    pub root: PathBuf,
}

impl TlsFiles {
    /// Writes a self-signed certificate and its key into a directory.
    pub fn create(dir: &Path) -> Self {
        let names = NAMES.map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let files = Self { cert: dir.join("cert.pem"), key: dir.join("key.pem"), root: dir.join("cert.pem") };
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    /// Writes a certificate of the tests' authority, its key and the authority's own certificate into a directory.
    pub fn issued(dir: &Path) -> Self {
        let at = |name: &str| dir.join(name);
        let files = Self { cert: at("issued.pem"), key: at("issued.key"), root: at("authority.pem") };
        let (cert, key) = issued_pem(&NAMES);
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        fs::write(&files.root, AUTHORITY.pem()).unwrap();
        files
    }

    /// A client that trusts this certificate and no other.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        let pem = fs::read(&self.root).unwrap();
        let cert = reqwest::Certificate::from_pem(&pem).expect("the file holds a certificate");
        crate::http::client_builder().tls_certs_only([cert])
    }
}

/// Certificate and key of the tests' authority for these names and addresses, as PEM.
pub(crate) fn issued_pem(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are names");
    params.distinguished_name.push(DnType::CommonName, "server of the tests");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key can be made");
    let cert = params.signed_by(&key, &AUTHORITY).expect("a certificate can be made");
    (cert.pem(), key.serialize_pem())
}

/// A client that trusts the tests' authority and no other.
pub(crate) fn trusting_client() -> reqwest::Client {
    let cert = reqwest::Certificate::from_pem(AUTHORITY.pem().as_bytes()).expect("the authority has a certificate");
    crate::http::client_builder().tls_certs_only([cert]).build().expect("a TLS client")
}

#[cfg(test)]
mod tests {
    use super::{TlsFiles, trusting_client};

    #[test]
    fn clients_trust_what_the_authority_issued() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles::issued(dir.path());
        assert!(files.client().build().is_ok());
        drop(trusting_client());
    }
}
