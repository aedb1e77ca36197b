//! Values: what a table keeps under a key, before compression and sealing.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{CodecError, Position};

/// A value of a table.
pub trait Value: Sized {
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads the value back; `bytes` is exactly what `encode` appended.
    ///
    /// # Errors
    /// When the bytes are no encoding of this type.
    fn decode(bytes: Bytes) -> Result<Self, CodecError>;
}

/// A value kept as JSON: for what operators may want to read and what changes its shape often.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Default)]
pub struct Json<T>(pub T);

/// A value kept in postcard's compact form: for hot tables. Fields are positional, so a change of shape is a migration.
#[derive(Debug, Clone, Copy, Eq, PartialEq, Default)]
pub struct Packed<T>(pub T);

impl Value for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        if bytes.is_empty() { Ok(()) } else { Err(CodecError::expected("empty value")) }
    }
}

impl Value for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        bytes.as_ref().try_into().map(Self::from_be_bytes).map_err(|_| CodecError::expected("u64"))
    }
}

impl Value for Position {
    fn encode(&self, out: &mut Vec<u8>) {
        self.get().encode(out);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        u64::decode(bytes).map(Self::new)
    }
}

impl Value for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        Ok(bytes)
    }
}

impl Value for Vec<u8> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        Ok(bytes.into())
    }
}

impl Value for String {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        Self::from_utf8(bytes.into()).map_err(|_| CodecError::expected("UTF-8 text"))
    }
}

impl<T: Serialize + DeserializeOwned> Value for Json<T> {
    #[expect(clippy::expect_used, reason = "writing to memory cannot fail, and tables hold types with text keys only")]
    fn encode(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, &self.0).expect("the type of a table serialises to JSON");
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        serde_json::from_slice(&bytes).map(Self).map_err(|_| CodecError::expected("JSON of this table's type"))
    }
}

impl<T: Serialize + DeserializeOwned> Value for Packed<T> {
    #[expect(clippy::expect_used, reason = "writing to memory cannot fail, and tables hold types of known length only")]
    fn encode(&self, out: &mut Vec<u8>) {
        postcard::to_io(&self.0, out).expect("the type of a table has a packed form");
    }

    fn decode(bytes: Bytes) -> Result<Self, CodecError> {
        match postcard::take_from_bytes(&bytes) {
            Ok((value, [])) => Ok(Self(value)),
            _ => Err(CodecError::expected("packed value of this table's type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Debug};

    use super::*;

    fn back<V: Value + PartialEq + Debug>(value: V) -> usize {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let length = bytes.len();
        assert_eq!(V::decode(bytes.into()), Ok(value));
        length
    }

    #[test]
    fn values_are_read_back() {
        assert_eq!(back(()), 0);
        assert_eq!(back(7_u64), 8);
        assert_eq!(back(Position::new(7)), 8);
        assert_eq!(back(Bytes::from_static(b"bytes")), 5);
        assert_eq!(back(b"bytes".to_vec()), 5);
        assert_eq!(back("text".to_owned()), 4);
        let map = BTreeMap::from([("key".to_owned(), vec![1, 2])]);
        assert_eq!(back(Json(map.clone())), r#"{"key":[1,2]}"#.len());
        assert_eq!(back(Packed(map)), 8);
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = Bytes::from_static(&[0xFF; 9]);
        assert!(<()>::decode(bytes.clone()).is_err());
        assert!(u64::decode(bytes.clone()).is_err());
        assert!(String::decode(bytes.clone()).is_err());
        assert!(Json::<u8>::decode(bytes.clone()).is_err());
        assert!(Packed::<u8>::decode(bytes.clone()).is_err(), "trailing bytes");
        assert!(Packed::<String>::decode(bytes).is_err());
    }
}
