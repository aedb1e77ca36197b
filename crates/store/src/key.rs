//! Keys: fixed-width, big-endian, so that the order of the bytes is the order of the values.

use crate::Position;

/// A keyed hash or another 16-byte identifier within a key.
pub type Hash16 = [u8; 16];

/// Stored bytes are not an encoding of the expected type.
#[derive(Debug, Clone, Eq, PartialEq, thiserror::Error)]
#[error("stored bytes are no {expected}")]
pub struct CodecError {
    /// What the bytes should have been.
    pub expected: &'static str,
}

impl CodecError {
    /// The bytes are not `expected`.
    pub const fn expected(expected: &'static str) -> Self {
        Self { expected }
    }
}

/// Encoded keys, and the places in them where [`Position::COMMIT`] waits for the commit's position.
#[derive(Debug, Default, Clone)]
pub struct KeyBuf {
    pub(crate) bytes: Vec<u8>,
    pub(crate) stamps: Vec<usize>,
}

impl KeyBuf {
    /// Appends bytes as they are.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a position; [`Position::COMMIT`] is remembered as a place to stamp.
    pub fn position(&mut self, position: Position) {
        if position == Position::COMMIT {
            self.stamps.push(self.bytes.len());
        }
        self.extend(&position.get().to_be_bytes());
    }

    /// What was encoded so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the commit's position wherever one was awaited.
    pub(crate) fn stamp(&mut self, position: Position) {
        for at in self.stamps.iter().copied() {
            self.bytes[at..at + 8].copy_from_slice(&position.get().to_be_bytes());
        }
    }
}

/// A key or a prefix of keys. The byte order of encodings must be the order of the values, and no encoding may be a
/// proper prefix of another of the same type: fixed-width parts have both properties.
pub trait Key: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut KeyBuf);

    /// Takes one value from the front of `input`.
    ///
    /// # Errors
    /// When `input` is too short or holds no value of this type.
    fn decode(input: &mut &[u8]) -> Result<Self, CodecError>;
}

/// Takes the first `N` bytes of `input`.
fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(CodecError::expected("key of this length"))?;
    *input = rest;
    Ok(*head)
}

macro_rules! integer_keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            fn encode(&self, out: &mut KeyBuf) {
                out.extend(&self.to_be_bytes());
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                take(input).map(Self::from_be_bytes)
            }
        }
    )*};
}
integer_keys!(u8, u16, u32, u64);

impl Key for bool {
    fn encode(&self, out: &mut KeyBuf) {
        out.extend(&[u8::from(*self)]);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take(input)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(CodecError::expected("bool")),
        }
    }
}

impl Key for Position {
    fn encode(&self, out: &mut KeyBuf) {
        out.position(*self);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        u64::decode(input).map(Self::new)
    }
}

impl<const N: usize> Key for [u8; N] {
    fn encode(&self, out: &mut KeyBuf) {
        out.extend(self);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
        take(input)
    }
}

macro_rules! tuple_keys {
    ($(($($part:ident),*)),*) => {$(
        impl<$($part: Key),*> Key for ($($part,)*) {
            #[expect(non_snake_case, reason = "one name serves as type and as binding")]
            fn encode(&self, out: &mut KeyBuf) {
                let ($($part,)*) = self;
                $($part.encode(out);)*
            }

            fn decode(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($part::decode(input)?,)*))
            }
        }
    )*};
}
tuple_keys!((A), (A, B), (A, B, C), (A, B, C, D), (A, B, C, D, E));

impl Key for () {
    fn encode(&self, _: &mut KeyBuf) {}

    fn decode(_: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(())
    }
}

/// The smallest byte string greater than every string that starts with `prefix`; none if there is no such string.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut bytes = prefix[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}
