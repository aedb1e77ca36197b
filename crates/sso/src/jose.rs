//! Signed tokens: JWS in compact form (RFC 7515) with keys of a JWK set (RFC 7517), algorithms of RFC 7518 and RFC 8037.
//!
//! Only what an identity provider's tokens need, and no more: no encryption, no keys within the token, no `crit`
//! extension, and an algorithm is one that the caller allows. The signatures themselves are checked by `aws-lc-rs`.

mod algorithm;
mod keys;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::algorithm::Algorithm;
pub(crate) use self::keys::KeySet;

/// Longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 64 * 1_024;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three parts of base64url, of which the first two are JSON objects.
    #[error("it is no signed token")]
    Malformed,
    /// The header wants something that this server does not know and may not pass over.
    #[error("its header has an extension that must be understood")]
    Critical,
    /// The header names no algorithm that is allowed.
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// No key of the issuer fits.
    #[error("it is signed with a key that the issuer does not have")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing or has the wrong type.
    #[error("{0} is missing or malformed")]
    Claim(&'static str),
    /// A claim says that the token is not meant for this.
    #[error("{0} is not what it should be")]
    Mismatch(&'static str),
    /// The token is over.
    #[error("it has expired")]
    Expired,
    /// The token is not good yet, or too old.
    #[error("{0} is too far from the present")]
    Time(&'static str),
    /// The token came before.
    #[error("it was used before")]
    Replayed,
}

/// The header of a token, as far as it matters.
#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

/// A token in its parts, whose signature nobody has checked.
#[derive(Debug)]
pub(crate) struct Unchecked<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// Media type without its `application/`, in small letters.
    pub(crate) kind: Option<String>,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Unchecked<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenFault::Malformed`], [`TokenFault::Critical`], or [`TokenFault::Algorithm`] for one that is not in `allowed`.
    pub(crate) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        if payload.contains('.') {
            return Err(TokenFault::Malformed);
        }
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| TokenFault::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenFault::Critical);
        }
        let algorithm = Algorithm::named(&header.alg).filter(|algorithm| allowed.contains(algorithm));
        let algorithm = algorithm.ok_or(TokenFault::Algorithm)?;
        let kind = header.typ.map(|kind| kind.to_ascii_lowercase());
        let kind = kind.map(|kind| kind.strip_prefix("application/").map(str::to_owned).unwrap_or(kind));
        Ok(Self { algorithm, key_id: header.kid, kind, signed, payload, signature: decoded(signature)? })
    }

    /// The claims, when the signature is one of the keys'. A shared secret is used for the algorithms that have one.
    ///
    /// # Errors
    /// [`TokenFault::UnknownKey`], [`TokenFault::Signature`] or [`TokenFault::Malformed`].
    pub(crate) fn checked(&self, keys: &KeySet, secret: Option<&str>) -> Result<Map<String, Value>, TokenFault> {
        let message = self.signed.as_bytes();
        if self.algorithm.is_symmetric() {
            let secret = secret.filter(|secret| !secret.is_empty()).ok_or(TokenFault::UnknownKey)?;
            if !self.algorithm.verify_mac(secret.as_bytes(), message, &self.signature) {
                return Err(TokenFault::Signature);
            }
        } else {
            keys.verify(self.algorithm, self.key_id.as_deref(), message, &self.signature)?;
        }
        serde_json::from_slice(&decoded(self.payload)?).map_err(|_| TokenFault::Malformed)
    }
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)
}

#[cfg(test)]
mod tests;
