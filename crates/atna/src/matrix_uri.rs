//! Names of users, rooms and events as URIs (Matrix specification, "URIs", scheme `matrix:`).

/// The URI of a user.
pub(crate) fn user(id: &str) -> String {
    named("u", '@', id)
}

/// The URI of a room.
pub(crate) fn room(id: &str) -> String {
    named("roomid", '!', id)
}

/// The URI of an event in a room.
pub(crate) fn event(room_id: &str, event_id: &str) -> String {
    format!("{}/{}", room(room_id), named("e", '$', event_id).trim_start_matches("matrix:"))
}

fn named(kind: &str, sigil: char, id: &str) -> String {
    let mut uri = format!("matrix:{kind}/");
    escape(id.strip_prefix(sigil).unwrap_or(id), &mut uri);
    uri
}

/// What may stand in a segment of a path (RFC 3986, section 3.3) stays.
fn escape(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
            | b';' | b'=' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

/// The id that a URI of this scheme names last: the event, else the room or the user. None where it is no such URI.
pub(crate) fn id(uri: &str) -> Option<String> {
    let path = uri.strip_prefix("matrix:")?;
    let mut segments = path.rsplit('/');
    let (name, kind) = (segments.next()?, segments.next()?);
    let sigil = match kind {
        "u" => '@',
        "roomid" => '!',
        "e" => '$',
        _ => return None,
    };
    let bytes = unescape(name)?;
    Some(format!("{sigil}{}", String::from_utf8(bytes).ok()?))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{event, id, room, user};

    #[test]
    fn names_become_uris() {
        assert_eq!(user("@alice:a.example"), "matrix:u/alice:a.example");
        assert_eq!(user("@a/b%c:a.example"), "matrix:u/a%2Fb%25c:a.example");
        assert_eq!(room("!r:a.example:8448"), "matrix:roomid/r:a.example:8448");
        assert_eq!(event("!r", "$e"), "matrix:roomid/r/e/e");
        assert_eq!(id("matrix:roomid/r/e/e").as_deref(), Some("$e"));
        for nothing in
            ["", "matrix:", "matrix:u", "http:u/a", "matrix:x/a", "matrix:u/%", "matrix:u/%zz", "matrix:u/%ff"]
        {
            assert_eq!(id(nothing), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back(name in ".{0,40}") {
            prop_assert_eq!(id(&user(&format!("@{name}"))), Some(format!("@{name}")));
            prop_assert_eq!(id(&event("!r", &format!("${name}"))), Some(format!("${name}")));
        }

        #[test]
        fn any_text_is_read(text in ".{0,60}") {
            id(&text);
            id(&format!("matrix:u/{text}"));
        }
    }
}
