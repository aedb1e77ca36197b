//! A certificate of the tests' own, made anew for each server that needs one.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A self-signed certificate for `localhost` and 127.0.0.1 and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Writes both files into a directory.
    pub fn create(dir: &Path) -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
        let files = Self { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    /// A client that trusts this certificate and no other.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        let pem = fs::read(&self.cert).unwrap();
        let cert = reqwest::Certificate::from_pem(&pem).expect("the file holds a certificate");
        crate::http::client_builder().tls_certs_only([cert])
    }
}
