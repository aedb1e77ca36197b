//! Names and keys that nobody can guess.

use aws_lc_rs::rand;

/// Random bytes of the operating system's generator.
#[expect(clippy::expect_used, reason = "a system without randomness must not make keys")]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The characters of a media id: those of base64 for URLs, so that none needs escaping.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Characters of a new media id: 144 random bits.
const MEDIA_ID_CHARS: usize = 24;

/// A new media id.
pub(crate) fn media_id() -> String {
    bytes::<MEDIA_ID_CHARS>().iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}
