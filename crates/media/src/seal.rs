//! How a file is sealed: in chunks, each with AES-256-GCM, so that it can be read from any place and no part can be
//! changed, moved, left out or cut off unnoticed.
//!
//! The construction is STREAM (Hoang, Reyhanitabar, Rogaway and Vizár, 2015): the nonce of a chunk is its number and a
//! byte that says whether it is the last. A key seals one file only, so no nonce is ever used twice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random;

/// Bytes of content in a chunk; the last one has fewer or as many, and is empty only in an empty file.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;
/// What sealing adds to a chunk.
pub(crate) const TAG_BYTES: usize = 16;
/// A chunk in the file.
pub(crate) const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Length of a file's key.
pub(crate) const KEY_BYTES: usize = 32;

/// The file is not what was written.
#[derive(Debug, Clone, Copy, Eq, PartialEq, thiserror::Error)]
#[error("a sealed file is damaged")]
pub(crate) struct Damaged;

/// Seals or opens the chunks of one file.
pub(crate) struct Cipher(LessSafeKey);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

/// A new file's key.
pub(crate) fn new_key() -> Zeroizing<[u8; KEY_BYTES]> {
    Zeroizing::new(random::bytes())
}

/// How many chunks a content of this length has.
pub(crate) const fn chunks(length: u64) -> u64 {
    if length == 0 { 1 } else { length.div_ceil(CHUNK_BYTES as u64) }
}

/// How long the file of a content of this length is.
pub(crate) const fn sealed_length(length: u64) -> u64 {
    length + chunks(length) * TAG_BYTES as u64
}

impl Cipher {
    #[expect(clippy::expect_used, reason = "the length of the key is in its type")]
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256")))
    }

    /// Appends a chunk, sealed, to `out`.
    pub(crate) fn seal(&self, index: u64, last: bool, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Damaged> {
        let start = out.len();
        out.extend_from_slice(chunk);
        let nonce = nonce(index, last)?;
        let sealed = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..]);
        out.extend_from_slice(sealed.map_err(|_| Damaged)?.as_ref());
        Ok(())
    }

    /// Opens a chunk in place; answers its content.
    pub(crate) fn open<'a>(&self, index: u64, last: bool, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Damaged> {
        self.0.open_in_place(nonce(index, last)?, Aad::empty(), sealed).map_err(|_| Damaged)
    }
}

fn nonce(index: u64, last: bool) -> Result<Nonce, Damaged> {
    // 2^32 chunks are 256 TiB: no file gets there.
    let index = u32::try_from(index).map_err(|_| Damaged)?;
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 5..NONCE_LEN - 1].copy_from_slice(&index.to_be_bytes());
    bytes[NONCE_LEN - 1] = u8::from(last);
    Ok(Nonce::assume_unique_for_key(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealed(cipher: &Cipher, content: &[u8]) -> Vec<Vec<u8>> {
        let count = usize::try_from(chunks(content.len() as u64)).unwrap();
        let chunk = |index: usize| {
            let mut out = Vec::new();
            let end = content.len().min((index + 1) * CHUNK_BYTES);
            cipher.seal(index as u64, index + 1 == count, &content[index * CHUNK_BYTES..end], &mut out).unwrap();
            out
        };
        (0..count).map(chunk).collect()
    }

    fn opened(cipher: &Cipher, chunks: &[Vec<u8>]) -> Result<Vec<u8>, Damaged> {
        let mut content = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut chunk = chunk.clone();
            content.extend_from_slice(cipher.open(index as u64, index + 1 == chunks.len(), &mut chunk)?);
        }
        Ok(content)
    }

    #[test]
    fn lengths_at_the_edges() {
        let chunk = CHUNK_BYTES as u64;
        for (length, count) in [(0, 1), (1, 1), (chunk - 1, 1), (chunk, 1), (chunk + 1, 2), (2 * chunk, 2)] {
            assert_eq!(chunks(length), count, "{length}");
            assert_eq!(sealed_length(length), length + 16 * count, "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_change_is_noticed(length in 0_usize..4 * CHUNK_BYTES, seed: u8, at: prop::sample::Index, other in 0_usize..4) {
            let cipher = Cipher::new(&new_key());
            let content: Vec<u8> = (0..length).map(|n| seed.wrapping_add(u8::try_from(n % 251).unwrap())).collect();
            let chunks = sealed(&cipher, &content);
            prop_assert_eq!(chunks.iter().map(Vec::len).sum::<usize>() as u64, sealed_length(length as u64));
            prop_assert_eq!(opened(&cipher, &chunks), Ok(content));
            // One bit.
            let mut flipped = chunks.clone();
            let victim = at.index(flipped.len());
            let byte = at.index(flipped[victim].len());
            flipped[victim][byte] ^= 1 << (seed % 8);
            prop_assert_eq!(opened(&cipher, &flipped), Err(Damaged));
            // The end cut off, at a chunk's edge and elsewhere.
            if chunks.len() > 1 {
                prop_assert_eq!(opened(&cipher, &chunks[..chunks.len() - 1]), Err(Damaged));
            }
            let mut cut = chunks.clone();
            let last = cut.len() - 1;
            cut[last].pop();
            prop_assert_eq!(opened(&cipher, &cut), Err(Damaged));
            // Two chunks in each other's place, and one twice.
            let other = other % chunks.len();
            if other != victim {
                let mut swapped = chunks.clone();
                swapped.swap(victim, other);
                prop_assert_eq!(opened(&cipher, &swapped), Err(Damaged));
            }
            let mut longer = chunks.clone();
            longer.push(chunks[victim].clone());
            prop_assert_eq!(opened(&cipher, &longer), Err(Damaged));
            // Another file's key.
            prop_assert_eq!(opened(&Cipher::new(&new_key()), &chunks), Err(Damaged));
        }
    }
}
