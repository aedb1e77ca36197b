//! The keys of an issuer (RFC 7517), as far as signatures are checked with them.

use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use super::{Algorithm, TokenFault, algorithm};

/// Keys of one issuer that are looked at; those behind them are passed over.
const KEYS_MAX: usize = 64;

/// The keys of an issuer. What is no key for signatures, or of an unknown kind, is left out (RFC 7517, section 5).
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point as the curve's algorithm reads it.
    Point {
        curve: String,
        bytes: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    key_ops: Option<Vec<String>>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    /// Reads a document; `None` when it is no JWK set.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(bytes).ok()?;
        let keys = document.keys.into_iter().take(KEYS_MAX);
        Some(Self(keys.filter_map(|key| serde_json::from_value(key).ok().and_then(Key::of)).collect()))
    }

    /// Checks a signature with the keys that it can be of: those with the id, or all where the token names none.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), TokenFault> {
        let mut fault = TokenFault::UnknownKey;
        for key in self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id) {
            match key.verify(algorithm, message, signature) {
                Some(true) => return Ok(()),
                Some(false) => fault = TokenFault::Signature,
                None => {}
            }
        }
        Err(fault)
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        let for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let bytes = |value: &Option<String>| URL_SAFE_NO_PAD.decode(value.as_deref()?).ok();
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Public::Rsa { n: without_zeros(&bytes(&jwk.n)?), e: without_zeros(&bytes(&jwk.e)?) },
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                let width = if curve == "P-256" { 32 } else { 48 };
                if x.len() != width || y.len() != width {
                    return None;
                }
                // An uncompressed point (SEC 1, section 2.3.3).
                let point = [&[4][..], &x, &y].concat();
                Public::Point { curve: curve.to_owned(), bytes: point }
            }
            ("OKP", Some(curve @ "Ed25519")) => Public::Point { curve: curve.to_owned(), bytes: bytes(&jwk.x)? },
            _ => return None,
        };
        Some(Self { id: jwk.kid, algorithm: jwk.alg, public })
    }

    /// `None` when the key is not for this algorithm.
    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        let meant = self.algorithm.as_deref().is_none_or(|name| Algorithm::named(name) == Some(algorithm));
        if !meant {
            return None;
        }
        match &self.public {
            Public::Rsa { n, e } => {
                let components = RsaPublicKeyComponents { n, e };
                Some(components.verify(algorithm.rsa()?, message, signature).is_ok())
            }
            Public::Point { curve, bytes } => {
                let (name, verification) = algorithm.curve()?;
                (name == curve).then(|| algorithm::verify(verification, bytes, message, signature))
            }
        }
    }
}

/// Some issuers write numbers with zeros in front, which RFC 7518 does not have.
fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes[first..].to_vec()
}
