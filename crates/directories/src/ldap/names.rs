//! Names of entries (RFC 4514), as they are compared: types and values in any case, however they are escaped.

/// A name that equals every other way of writing it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryName(Box<str>);

impl EntryName {
    /// Reads a name; none where the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut canonical = String::with_capacity(text.len());
        for part in split(text, ',') {
            canonical.push('\n');
            let mut pairs: Vec<String> = Vec::new();
            for pair in split(part, '+') {
                let (kind, value) = pair.split_once('=')?;
                if kind.trim().is_empty() {
                    return None;
                }
                pairs.push(format!("{}\t{}", kind.trim().to_lowercase(), value_of(value)));
            }
            pairs.sort_unstable();
            canonical.push_str(&pairs.join("\r"));
        }
        Some(Self(canonical.into()))
    }

    /// The value of its first part, such as the group's own name.
    pub(crate) fn first_value(&self) -> &str {
        let first = self.0.trim_start_matches('\n').split('\n').next().unwrap_or_default();
        first.split('\r').next().and_then(|pair| pair.split_once('\t')).map_or("", |(_, value)| value)
    }
}

/// The parts between separators that are not escaped.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |char| {
        let separates = char == separator && !escaped;
        escaped = char == '\\' && !escaped;
        separates
    })
}

/// A value without its escapes, in small letters. Spaces around it, and more than one within it, say nothing.
fn value_of(text: &str) -> String {
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text.trim_start().as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = rest.get(2..).unwrap_or_default();
        } else if let Some((next, after)) = rest.split_first() {
            bytes.push(*next);
            rest = after;
        }
    }
    folded(&String::from_utf8_lossy(&bytes))
}

/// A text as it is compared.
pub(crate) fn folded(text: &str) -> String {
    // Control characters separate the parts of a canonical name.
    let words: Vec<&str> = text.split(|char: char| char.is_whitespace() || char.is_control()).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::EntryName;

    #[test]
    fn names_are_the_same_however_they_are_written() {
        let same = |one: &str, other: &str| EntryName::parse(one).unwrap() == EntryName::parse(other).unwrap();
        assert!(same("cn=ICU Physicians,ou=Groups,dc=h1", "CN=icu  physicians, OU=groups , DC=H1"));
        assert!(same("cn=Smith\\, John,dc=h1", "cn=Smith\\2c John,dc=h1"));
        assert!(same("cn=a+ou=b,dc=h1", "OU=B+CN=A,DC=h1"));
        assert!(!same("cn=a,dc=h1", "cn=a,dc=h2"));
        assert!(!same("cn=a,ou=b", "cn=a\\,ou=b"));
        assert_eq!(EntryName::parse("cn=Smith\\, John,dc=h1").unwrap().first_value(), "smith, john");
        for nothing in ["", "alice", "cn=a,b", "=a"] {
            assert_eq!(EntryName::parse(nothing), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "[a-c=,+\\\\ ü0-9]{0,30}|\\PC{0,40}") {
            if let Some(name) = EntryName::parse(&text) {
                let _ = name.first_value();
            }
        }
    }
}
