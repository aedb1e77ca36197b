//! How a value looks at rest.
//!
//! ```text
//! format u8 | version u64 BE | data key id u32 BE | nonce 12 | AES-256-GCM ciphertext | tag 16
//! ```
//!
//! Associated data is the engine's whole key (table id first) followed by the three fields before the nonce, so a
//! value cannot be moved to another table, key, version or data key. The payload is the value, or, compressed, its
//! length as u32 BE and a zstd frame.

use std::{cell::RefCell, io};

use aws_lc_rs::{
    aead::{Aad, LessSafeKey, NONCE_LEN, Nonce},
    rand,
};
use bytes::Bytes;
use smallvec::SmallVec;
use zstd::bulk::{Compressor, Decompressor};

use crate::{Position, committer::COMMIT_BYTES_MAX};

/// Bytes that the associated data shares with the header.
const BOUND_BYTES: usize = 1 + 8 + 4;
/// Bytes before the ciphertext.
pub(crate) const HEADER_BYTES: usize = BOUND_BYTES + NONCE_LEN;
/// Bytes behind the ciphertext.
pub(crate) const TAG_BYTES: usize = 16;
/// Values up to this size are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 128;
/// Fastest level of zstd with a ratio worth having.
const COMPRESS_LEVEL: i32 = 1;
/// Bytes of the length before a compressed payload.
const LENGTH_BYTES: usize = 4;

/// What the payload is, first byte of a value at rest.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Format {
    /// The value.
    Plain = 1,
    /// Length and zstd frame without dictionary.
    Compressed = 2,
}

/// The bytes do not open: altered, moved, or sealed otherwise.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub(crate) struct Unsealable;

/// What can be known of a sealed value without opening it.
#[derive(Debug, Copy, Clone, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) format: Format,
    /// The commit that wrote the value.
    pub(crate) version: Position,
    pub(crate) key_id: u32,
}

impl Header {
    /// The header of a sealed value.
    pub(crate) fn of(sealed: &[u8]) -> Result<Self, Unsealable> {
        if sealed.len() < HEADER_BYTES + TAG_BYTES {
            return Err(Unsealable);
        }
        let (format, rest) = sealed.split_first().ok_or(Unsealable)?;
        let format = match *format {
            1 => Format::Plain,
            2 => Format::Compressed,
            _ => return Err(Unsealable),
        };
        let (version, rest) = rest.split_first_chunk().ok_or(Unsealable)?;
        let (key_id, _) = rest.split_first_chunk().ok_or(Unsealable)?;
        Ok(Self { format, version: Position::new(u64::from_be_bytes(*version)), key_id: u32::from_be_bytes(*key_id) })
    }

    fn bound(self) -> [u8; BOUND_BYTES] {
        let mut bytes = [0; BOUND_BYTES];
        bytes[0] = self.format as u8;
        bytes[1..9].copy_from_slice(&self.version.get().to_be_bytes());
        bytes[9..].copy_from_slice(&self.key_id.to_be_bytes());
        bytes
    }
}

/// Random nonces, drawn for many values at once: a draw costs about as much as sealing a small value.
#[derive(Debug, Default)]
pub(crate) struct Nonces {
    drawn: Vec<u8>,
}

impl Nonces {
    const DRAW: usize = 64;

    fn next(&mut self) -> Result<[u8; NONCE_LEN], Unsealable> {
        if self.drawn.is_empty() {
            self.drawn.resize(Self::DRAW * NONCE_LEN, 0);
            rand::fill(&mut self.drawn).map_err(|_| Unsealable)?;
        }
        let nonce = *self.drawn.last_chunk().ok_or(Unsealable)?;
        self.drawn.truncate(self.drawn.len() - NONCE_LEN);
        Ok(nonce)
    }
}

/// Seals a row in place. `row` is the engine's key (of `key_bytes`), room for the header, the payload, and room for
/// the tag: key and header lie side by side, so the associated data needs no copy.
pub(crate) fn seal(
    row: &mut [u8],
    key_bytes: usize,
    header: Header,
    key: &LessSafeKey,
    nonces: &mut Nonces,
) -> Result<(), Unsealable> {
    let nonce = nonces.next()?;
    let bound = key_bytes + BOUND_BYTES;
    row[key_bytes..bound].copy_from_slice(&header.bound());
    row[bound..bound + NONCE_LEN].copy_from_slice(&nonce);
    let (front, payload) = row.split_at_mut(key_bytes + HEADER_BYTES);
    let (payload, room) = payload.split_at_mut(payload.len() - TAG_BYTES);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&front[..bound]), payload)
        .map_err(|_| Unsealable)?;
    room.copy_from_slice(tag.as_ref());
    Ok(())
}

/// Opens the sealed value of an engine's key.
pub(crate) fn open(row_key: &[u8], mut sealed: Vec<u8>, key: &LessSafeKey) -> Result<Bytes, Unsealable> {
    let header = Header::of(&sealed)?;
    let mut associated = SmallVec::<[u8; 96]>::from_slice(row_key);
    associated.extend_from_slice(&sealed[..BOUND_BYTES]);
    let (front, ciphertext) = sealed.split_at_mut(HEADER_BYTES);
    let nonce = Nonce::try_assume_unique_for_key(&front[BOUND_BYTES..]).map_err(|_| Unsealable)?;
    let bytes = key.open_in_place(nonce, Aad::from(&associated), ciphertext).map_err(|_| Unsealable)?.len();
    let payload = HEADER_BYTES..HEADER_BYTES + bytes;
    match header.format {
        Format::Plain => Ok(Bytes::from(sealed).slice(payload)),
        Format::Compressed => decompress(&sealed[payload]),
    }
}

thread_local! {
    // Contexts are large and slow to make; each thread keeps its own.
    static COMPRESSOR: RefCell<Option<(Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses the payload that starts at `from`, if that makes it smaller.
pub(crate) fn compress(row: &mut Vec<u8>, from: usize) -> Format {
    let bytes = row.len() - from;
    if bytes <= COMPRESS_BYTES_MIN {
        return Format::Plain;
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        let (compressor, frame) = match slot {
            Some(pair) => pair,
            None => match Compressor::new(COMPRESS_LEVEL) {
                Ok(compressor) => slot.insert((compressor, Vec::new())),
                Err(_) => return Format::Plain,
            },
        };
        frame.clear();
        // A frame that does not fit is no smaller: the compressor stops there.
        frame.reserve(bytes);
        let (Ok(length), Ok(_)) = (u32::try_from(bytes), compressor.compress_to_buffer(&row[from..], frame)) else {
            return Format::Plain;
        };
        if frame.len() + LENGTH_BYTES >= bytes {
            return Format::Plain;
        }
        row.truncate(from);
        row.extend_from_slice(&length.to_be_bytes());
        row.extend_from_slice(frame);
        Format::Compressed
    })
}

fn decompress(payload: &[u8]) -> Result<Bytes, Unsealable> {
    let (length, frame) = payload.split_first_chunk().ok_or(Unsealable)?;
    let bytes = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Unsealable)?;
    if bytes > COMMIT_BYTES_MAX {
        return Err(Unsealable);
    }
    let value = DECOMPRESSOR.with_borrow_mut(|slot| -> io::Result<Vec<u8>> {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(Decompressor::new()?),
        };
        decompressor.decompress(frame, bytes)
    });
    value.ok().filter(|value| value.len() == bytes).map(Bytes::from).ok_or(Unsealable)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_256_GCM, UnboundKey};
    use proptest::prelude::*;

    use super::*;

    fn key() -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap())
    }

    fn sealed(row_key: &[u8], value: &[u8], compressed: bool) -> Vec<u8> {
        let mut row = [row_key, &[0; HEADER_BYTES], value].concat();
        let from = row_key.len() + HEADER_BYTES;
        let format = if compressed { compress(&mut row, from) } else { Format::Plain };
        row.extend([0; TAG_BYTES]);
        let header = Header { format, version: Position::new(5), key_id: 6 };
        seal(&mut row, row_key.len(), header, &key(), &mut Nonces::default()).unwrap();
        row.split_off(row_key.len())
    }

    proptest! {
        #[test]
        fn values_are_opened_again(row_key: Vec<u8>, word: Vec<u8>, times in 0_usize..200, compressed: bool) {
            let value = word.repeat(times);
            let sealed = sealed(&row_key, &value, compressed);
            let header = Header::of(&sealed).unwrap();
            prop_assert_eq!((header.version, header.key_id), (Position::new(5), 6));
            prop_assert!(sealed.len() <= value.len() + HEADER_BYTES + TAG_BYTES);
            prop_assert_eq!(open(&row_key, sealed, &key()), Ok(Bytes::from(value)));
        }

        #[test]
        fn whatever_the_bytes_opening_does_not_panic(row_key: Vec<u8>, bytes: Vec<u8>) {
            prop_assert_eq!(open(&row_key, bytes, &key()), Err(Unsealable));
        }

        #[test]
        fn whatever_the_payload_decompressing_does_not_panic(bytes: Vec<u8>) {
            let _ = decompress(&bytes);
        }
    }

    #[test]
    fn nonces_differ() {
        let mut nonces = Nonces::default();
        let drawn: std::collections::HashSet<_> = (0..1000).map(|_| nonces.next().unwrap()).collect();
        assert_eq!(drawn.len(), 1000);
    }
}
