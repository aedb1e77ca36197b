//! The characters of a page (HTML standard, section "Determining the character encoding", as far as pages in use need).

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How much of a page is searched for what it says of itself, in bytes.
const SEARCHED_BYTES: usize = 1_024;

/// The text of a page: as its byte order mark says, else its header, else its own declaration; else UTF-8, or
/// windows-1252 if it is none.
pub(crate) fn decode(bytes: &[u8], content_type: Option<&str>) -> String {
    let said = Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or_else(|| content_type.and_then(|header| label_in(header.as_bytes())))
        .or_else(|| label_in(&bytes[..bytes.len().min(SEARCHED_BYTES)]));
    let encoding = said.unwrap_or_else(|| if is_utf8(bytes) { UTF_8 } else { WINDOWS_1252 });
    encoding.decode(bytes).0.into_owned()
}

/// Whether this is UTF-8, whose last character may have been cut through.
fn is_utf8(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// What follows the first `charset=`, if that is an encoding.
fn label_in(bytes: &[u8]) -> Option<&'static Encoding> {
    let key = b"charset";
    let at = bytes.windows(key.len()).position(|part| part.eq_ignore_ascii_case(key))? + key.len();
    let rest = bytes[at..].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
    let ends = |byte: &u8| matches!(byte, b'"' | b'\'' | b';' | b'>' | b'/') || byte.is_ascii_whitespace();
    Encoding::for_label(&rest[..rest.iter().position(ends).unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decode;

    #[test]
    fn the_encoding_is_found_where_pages_say_it() {
        let latin = b"<p>Gr\xfc\xdfe</p>";
        let cyrillic = b"<meta charset=\"windows-1251\"><p>\xcf\xf0\xe8</p>";
        let old = b"<META http-equiv=content-type content='text/html; CHARSET=Shift_JIS'>\x83A";
        assert!(decode(latin, Some("text/html; charset=iso-8859-1")).contains("Grüße"));
        assert!(decode(latin, None).contains("Grüße"), "what is not UTF-8 is windows-1252");
        assert!(decode("Grüße".as_bytes(), Some("text/html")).contains("Grüße"));
        assert!(decode(&"Grüße".as_bytes()[..4], None).starts_with("Gr"), "cut within a character");
        assert!(decode(cyrillic, None).contains("При"));
        assert!(decode(old, None).contains('ア'));
        assert!(decode(b"\xff\xfea\0b\0", Some("text/html; charset=utf-8")).contains("ab"));
        assert!(decode("ä".as_bytes(), Some("text/html; charset=nonsense")).contains('ä'));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_it_does_not_panic(bytes: Vec<u8>, header: String) {
            decode(&bytes, Some(&header));
            decode(&[b"<meta charset=", &bytes[..]].concat(), None);
        }
    }
}
