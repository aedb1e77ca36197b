//! Names of signature algorithms and what they stand for.

use aws_lc_rs::{
    hmac,
    signature::{
        self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
    },
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// An algorithm by which tokens are signed (RFC 7518, section 3.1, and RFC 8037, section 3.1). There is no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    /// Those that are allowed unless somebody says otherwise: all whose signatures only the issuer can make.
    pub const ASYMMETRIC: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }

    /// Whether both sides have the same key.
    pub(crate) const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }

    /// Parameters of the RSA algorithms.
    pub(super) fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }

    /// Name of the curve of the algorithms that have one, and its verification.
    pub(super) fn curve(self) -> Option<(&'static str, &'static dyn VerificationAlgorithm)> {
        Some(match self {
            Self::Es256 => ("P-256", &ECDSA_P256_SHA256_FIXED),
            Self::Es384 => ("P-384", &ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => ("Ed25519", &ED25519),
            _ => return None,
        })
    }

    pub(super) fn verify_mac(self, secret: &[u8], message: &[u8], tag: &[u8]) -> bool {
        let algorithm = match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
            _ => return false,
        };
        hmac::verify(&hmac::Key::new(algorithm, secret), message, tag).is_ok()
    }

    /// The left half of the hash that belongs to the algorithm, as in `at_hash` (OpenID Connect Core 1.0, section
    /// 3.1.3.6). Ed25519 hashes with SHA-512.
    pub(crate) fn left_half_hash(self, text: &str) -> Vec<u8> {
        let hash = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Hs256 => Sha256::digest(text).to_vec(),
            Self::Rs384 | Self::Ps384 | Self::Es384 | Self::Hs384 => Sha384::digest(text).to_vec(),
            Self::Rs512 | Self::Ps512 | Self::EdDsa | Self::Hs512 => Sha512::digest(text).to_vec(),
        };
        hash[..hash.len() / 2].to_vec()
    }
}

/// Verifies with a public key as its algorithm encodes it.
pub(super) fn verify(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    signature::UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
}
