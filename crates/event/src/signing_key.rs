//! The key with which a server signs.

use std::fmt;

use ed25519_dalek::{Signer, pkcs8::DecodePrivateKey};
use ruma::{
    OwnedServerSigningKeyId, ServerSigningKeyVersion, SigningKeyAlgorithm, SigningKeyId, signatures::Ed25519KeyPair,
};

/// An ed25519 signing key with its version, the part after `ed25519:` in key ids.
///
/// The secret is erased from memory on drop and never printed.
/// [Signing keys](https://spec.matrix.org/v1.19/appendices/#signing-json).
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    pair: Ed25519KeyPair,
    key_id: OwnedServerSigningKeyId,
}

/// Why a signing key cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The version may consist of letters, digits and underscores only.
    #[error("the key version is not a string of letters, digits and underscores")]
    Version,
    /// The secret is not an ed25519 key.
    #[error("the secret is not an ed25519 key")]
    Secret,
}

impl SigningKey {
    /// The key of a 32-byte seed, which is what key files hold.
    pub fn from_seed(seed: [u8; 32], version: &str) -> Result<Self, KeyError> {
        Self::new(ed25519_dalek::SigningKey::from_bytes(&seed), version)
    }

    /// A new key from the randomness of the operating system.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub fn generate(version: &str) -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate();
        Self::new(ed25519_dalek::SigningKey::from_pkcs8_der(&document).map_err(|_| KeyError::Secret)?, version)
    }

    fn new(secret: ed25519_dalek::SigningKey, version: &str) -> Result<Self, KeyError> {
        let valid = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            return Err(KeyError::Version);
        }
        let key_version = <&ServerSigningKeyVersion>::try_from(version).map_err(|_| KeyError::Version)?;
        let pair =
            Ed25519KeyPair::new(ed25519_dalek::pkcs8::ALGORITHM_OID, secret.as_bytes(), None, version.to_owned())
                .map_err(|_| KeyError::Secret)?;
        let key_id = SigningKeyId::from_parts(SigningKeyAlgorithm::Ed25519, key_version);
        Ok(Self { secret, pair, key_id })
    }

    /// The seed, to be written to a key file. It is the secret itself.
    pub fn seed(&self) -> [u8; 32] {
        self.secret.to_bytes()
    }

    /// The key's id, like `ed25519:a_xyz1`.
    pub fn key_id(&self) -> &OwnedServerSigningKeyId {
        &self.key_id
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; 32] {
        self.secret.verifying_key().to_bytes()
    }

    /// The same key as ruma's signing functions take it, for requests and key documents.
    pub fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

/// Whether this is the signature of a message by the key with this public half. Anything that is no key or no signature
/// is not. The strict rules of RFC 8032 hold: no weak keys, no second form of a signature.
pub fn is_signature(public_key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(public_key) else { return false };
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
    key.verify_strict(message, &signature).is_ok()
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_version_and_hide_their_secret() {
        let key = SigningKey::from_seed([0x5a; 32], "a_B9").unwrap();
        assert_eq!(key.key_id().as_str(), "ed25519:a_B9");
        assert_eq!(key.seed(), [0x5a; 32]);
        assert_eq!(key.public_key(), key.pair().public_key());
        assert_eq!(format!("{key:?}"), r#"SigningKey { key_id: "ed25519:a_B9", .. }"#);
        for version in ["", "a b", "a:b", "é", "a-b"] {
            assert!(matches!(SigningKey::from_seed([0; 32], version), Err(KeyError::Version)));
        }
    }

    #[test]
    fn signatures_are_of_one_message_by_one_key() {
        let key = SigningKey::generate("1").unwrap();
        let signature = key.sign(b"x");
        assert!(is_signature(&key.public_key(), b"x", &signature));
        assert!(!is_signature(&key.public_key(), b"y", &signature));
        assert!(!is_signature(&SigningKey::generate("1").unwrap().public_key(), b"x", &signature));
        assert!(!is_signature(&key.public_key(), b"x", &signature[1..]));
        assert!(!is_signature(&[0xff; 32], b"x", &signature));
    }

    #[test]
    fn generated_keys_differ_and_can_be_kept() {
        let key = SigningKey::generate("1").unwrap();
        assert_ne!(key.seed(), SigningKey::generate("1").unwrap().seed());
        let kept = SigningKey::from_seed(key.seed(), "1").unwrap();
        assert_eq!(kept.public_key(), key.public_key());
        assert_eq!(kept.sign(b"x"), key.sign(b"x"));
    }
}
