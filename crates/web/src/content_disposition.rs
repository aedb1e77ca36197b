//! The header `Content-Disposition` (RFC 6266; client-server API, section "Serving inline content").

use http::HeaderValue;

/// Types that browsers show without running anything.
const INLINE_TYPES: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// The header for a content of this type and name.
pub fn of(content_type: &str, filename: Option<&str>) -> HeaderValue {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let disposition = if INLINE_TYPES.contains(&essence.as_str()) { "inline" } else { "attachment" };
    let text = match filename {
        None => disposition.to_owned(),
        Some(name) if is_plain(name) => format!("{disposition}; filename=\"{name}\""),
        Some(name) => format!("{disposition}; filename*=utf-8''{}", encoded(name)),
    };
    // Only printable ASCII is left.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Whether a name means the same to every reader of a quoted string: some decode percent signs, and backslashes are
/// read differently.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'"' | b'\\' | b'%'))
}

/// Everything but `attr-char` of RFC 8187 as percent signs and numbers.
fn encoded(name: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::of;

    fn text(content_type: &str, filename: Option<&str>) -> String {
        of(content_type, filename).to_str().unwrap().to_owned()
    }

    #[test]
    fn only_safe_types_are_shown() {
        assert_eq!(text("image/png", None), "inline");
        assert_eq!(text("Text/Plain; charset=utf-8", Some("a.txt")), "inline; filename=\"a.txt\"");
        for unsafe_type in ["text/html", "image/svg+xml", "application/pdf", "application/octet-stream", "", "image"] {
            assert_eq!(text(unsafe_type, None), "attachment", "{unsafe_type}");
        }
    }

    #[test]
    fn names_are_said_so_that_they_cannot_say_more() {
        assert_eq!(text("a/b", Some("my file.pdf")), "attachment; filename=\"my file.pdf\"");
        assert_eq!(text("a/b", Some("Grüße.txt")), "attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt");
        assert_eq!(text("a/b", Some("a\"; x=\"b")), "attachment; filename*=utf-8''a%22%3B%20x%3D%22b");
        assert_eq!(text("a/b", Some("a\r\nb: c")), "attachment; filename*=utf-8''a%0D%0Ab%3A%20c");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name: String) {
            let header = text("image/png", Some(&name));
            let read = match header.strip_prefix("inline; filename*=utf-8''") {
                Some(encoded) => {
                    let mut bytes = Vec::new();
                    let mut rest = encoded;
                    while let Some(first) = rest.chars().next() {
                        if first == '%' {
                            bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                            rest = &rest[3..];
                        } else {
                            bytes.push(u8::try_from(first).unwrap());
                            rest = &rest[1..];
                        }
                    }
                    String::from_utf8(bytes).unwrap()
                }
                None => header.strip_prefix("inline; filename=\"").unwrap().strip_suffix('"').unwrap().to_owned(),
            };
            prop_assert_eq!(read, name);
        }
    }
}
