//! Random values that nobody may guess.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;

/// Bytes of randomness in a token: 256 bits.
const TOKEN_RANDOM_BYTES: usize = 32;
/// Longest token that is worth hashing; ours are shorter.
pub(crate) const TOKEN_BYTES_MAX: usize = 256;

/// `N` random bytes.
#[expect(clippy::disallowed_methods, reason = "a secret that a test could fix would not be one")]
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// A new token. The prefix lets scanners for leaked secrets know it.
pub(crate) fn token(prefix: &str) -> String {
    let mut token = String::with_capacity(prefix.len() + 43);
    token.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(random_bytes::<TOKEN_RANDOM_BYTES>(), &mut token);
    token
}

/// A random number that no other device has: 63 bits, so that a million devices collide once in ten million servers.
pub(crate) fn device_number() -> u64 {
    u64::from_be_bytes(random_bytes()) >> 1
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn tokens_are_long_and_different() {
        let (one, two) = (token("x_"), token("x_"));
        assert_ne!(one, two);
        assert_eq!(one.len(), 2 + 43);
    }
}
