//! The part of BER that LDAP uses (RFC 4511, section 5.1): tags of one byte and definite lengths. Reading borrows, and goes
//! as deep as the reader asks, not as deep as whoever wrote the bytes wants.

use crate::Fault;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0A;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Bytes of a length beyond the first.
pub(crate) const LENGTH_BYTES_MAX: usize = 4;

/// An element of these bytes.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            // At most eight bytes, so it fits.
            bytes.push(0x80 | u8::try_from(length.len()).unwrap_or(u8::MAX));
            bytes.extend(length);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// An element of elements.
pub(crate) fn group(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// A string.
pub(crate) fn octets(text: &[u8]) -> Vec<u8> {
    element(OCTETS, text)
}

/// An integer, in as few bytes as it takes.
pub(crate) fn integer(tag: u8, value: i32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let spare = |index: &usize| match bytes.get(*index..=*index + 1) {
        Some([0x00, next]) => *next < 0x80,
        Some([0xFF, next]) => *next >= 0x80,
        _ => false,
    };
    let skipped = (0..3).take_while(spare).count();
    element(tag, bytes.get(skipped..).unwrap_or(&bytes))
}

/// Elements that follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element's tag and content.
    pub(crate) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Fault> {
        let (tag, first, mut rest) = match *self.0 {
            [] => return Ok(None),
            [tag, first, ref rest @ ..] => (tag, first, rest),
            [_] => return Err(Fault::Malformed("an element without a length")),
        };
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7F);
            let (bytes, after) = rest.split_at_checked(count).ok_or(CUT_OFF)?;
            rest = after;
            length(bytes)?
        };
        let (content, after) = rest.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = after;
        Ok(Some((tag, content)))
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<&'a [u8], Fault> {
        match self.next()? {
            Some((found, content)) if found == tag => Ok(content),
            _ => Err(Fault::Malformed("another element than the protocol has there")),
        }
    }

    /// The next element, which must be a text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.take(OCTETS)?).map_err(|_| Fault::Malformed("a text that is not UTF-8"))
    }

    /// The next element, which must be a number of this tag.
    pub(crate) fn number(&mut self, tag: u8) -> Result<i32, Fault> {
        let bytes = self.take(tag)?;
        let Some(first) = bytes.first() else { return Err(Fault::Malformed("a number without digits")) };
        if bytes.len() > 4 {
            return Err(Fault::Malformed("a number that is too large"));
        }
        let start = if *first < 0x80 { 0 } else { -1 };
        Ok(bytes.iter().fold(start, |number: i32, byte| number << 8 | i32::from(*byte)))
    }
}

const CUT_OFF: Fault = Fault::Malformed("an element that is cut off");

/// The length that these bytes, those after the first, stand for.
pub(crate) fn length(bytes: &[u8]) -> Result<usize, Fault> {
    if bytes.is_empty() || bytes.len() > LENGTH_BYTES_MAX {
        return Err(Fault::Malformed("a length that LDAP does not have"));
    }
    Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, element, group, integer, octets};

    #[test]
    fn numbers_take_as_few_bytes_as_they_can() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[0x7F]),
            (128, &[0, 0x80]),
            (256, &[1, 0]),
            (-1, &[0xFF]),
            (-129, &[0xFF, 0x7F]),
            (i32::MAX, &[0x7F, 0xFF, 0xFF, 0xFF]),
        ] {
            assert_eq!(integer(INTEGER, number)[2..], *bytes, "{number}");
        }
    }

    #[test]
    fn what_is_no_element_is_told() {
        for bytes in [&[0x30][..], &[0x30, 0x80], &[0x30, 0x05, 0x00], &[0x30, 0x85, 0, 0, 0, 0, 0], &[4, 0x82, 1]] {
            assert!(Elements::new(bytes).next().is_err(), "{bytes:?}");
        }
        assert!(Elements::new(&[]).next().unwrap().is_none());
        assert!(Elements::new(&[INTEGER, 0]).number(INTEGER).is_err());
        assert!(Elements::new(&[INTEGER, 5, 0, 0, 0, 0, 1]).number(INTEGER).is_err());
        assert!(Elements::new(&octets(&[0xFF])).text().is_err());
        assert!(Elements::new(&octets(b"a")).take(SEQUENCE).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: i32, text in "\\PC{0,300}") {
            let bytes = group(SEQUENCE, &[integer(ENUMERATED, number), octets(text.as_bytes())]);
            let mut outer = Elements::new(&bytes);
            let mut inner = Elements::new(outer.take(SEQUENCE).unwrap());
            prop_assert_eq!(inner.number(ENUMERATED).unwrap(), number);
            prop_assert_eq!(inner.text().unwrap(), text);
            prop_assert!(inner.next().unwrap().is_none() && outer.next().unwrap().is_none());
        }

        #[test]
        fn lengths_of_every_size_are_read(length in 0_usize..70_000) {
            let bytes = element(OCTETS, &vec![0; length]);
            prop_assert_eq!(Elements::new(&bytes).take(OCTETS).unwrap().len(), length);
        }

        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut elements = Elements::new(&bytes);
            while let Ok(Some((_, content))) = elements.next() {
                prop_assert!(content.len() <= bytes.len());
            }
        }
    }
}
