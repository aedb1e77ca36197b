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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(key: &impl Key) -> Vec<u8> {
        let mut out = KeyBuf::default();
        key.encode(&mut out);
        out.bytes
    }

    type Parts = (u8, u64, bool, [u8; 3], (u16, u32));

    proptest! {
        #[test]
        fn the_order_of_bytes_is_the_order_of_values(a: Parts, b: Parts) {
            prop_assert_eq!(encoded(&a).cmp(&encoded(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_are_read_back(key: Parts, rest: [u8; 4]) {
            let bytes = [encoded(&key), rest.to_vec()].concat();
            let mut input = bytes.as_slice();
            prop_assert_eq!(Parts::decode(&mut input), Ok(key));
            prop_assert_eq!(input, rest);
        }

        #[test]
        fn whatever_the_bytes_decoding_does_not_panic(bytes: Vec<u8>) {
            let mut input = bytes.as_slice();
            let decoded = Parts::decode(&mut input);
            prop_assert_eq!(decoded.is_ok(), bytes.len() >= 19 && bytes[9] < 2);
        }

        #[test]
        fn a_successor_is_the_least_key_behind_all_with_the_prefix(prefix: Vec<u8>, key: Vec<u8>) {
            let behind = successor(&prefix).is_some_and(|successor| key >= successor);
            prop_assert_eq!(behind, key > prefix && !key.starts_with(&prefix));
        }
    }

    #[test]
    fn only_the_placeholder_is_stamped() {
        let mut keys = KeyBuf::default();
        (1_u8, Position::COMMIT, Position::new(7), u64::MAX).encode(&mut keys);
        Position::COMMIT.encode(&mut keys);
        keys.stamp(Position::new(9));
        let mut input = keys.as_bytes();
        let read = <(u8, Position, Position, u64)>::decode(&mut input);
        assert_eq!(read, Ok((1, Position::new(9), Position::new(7), u64::MAX)));
        assert_eq!(Position::decode(&mut input), Ok(Position::new(9)));
        keys.stamp(Position::new(10));
        assert_eq!(keys.as_bytes()[8], 10);
    }
}
