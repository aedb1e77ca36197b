//! Search filters as people write them (RFC 4515), as LDAP has them (RFC 4511, section 4.5.1.7).

use super::ber::{element, group, octets};

/// How deep filters may be nested.
const DEPTH_MAX: usize = 20;
/// Longest filter, in bytes.
pub const LDAP_FILTER_BYTES_MAX: usize = 4_096;

const AND: u8 = 0xA0;
const OR: u8 = 0xA1;
const NOT: u8 = 0xA2;
const EQUAL: u8 = 0xA3;
const SUBSTRINGS: u8 = 0xA4;
const GREATER_OR_EQUAL: u8 = 0xA5;
const LESS_OR_EQUAL: u8 = 0xA6;
const PRESENT: u8 = 0x87;
const APPROXIMATELY: u8 = 0xA8;
const EXTENSIBLE: u8 = 0xA9;
/// Within [`SUBSTRINGS`].
const INITIAL: u8 = 0x80;
const ANY: u8 = 0x81;
const FINAL: u8 = 0x82;
/// Within [`EXTENSIBLE`].
const RULE: u8 = 0x81;
const TYPE: u8 = 0x82;
const VALUE: u8 = 0x83;
const OF_NAME: u8 = 0x84;

/// Why a text is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It does not begin and end with a parenthesis, or one is missing within it.
    #[error("is no filter: every part of it stands in parentheses, as in (objectClass=person)")]
    Form,
    /// A part names no attribute.
    #[error("is no filter: a part of it names no attribute")]
    Attribute,
    /// A backslash is not followed by two hexadecimal digits.
    #[error("is no filter: a backslash is followed by two hexadecimal digits")]
    Escape,
    /// It is too long or nested too deep.
    #[error("is no filter: it is too long, or nested too deep")]
    Size,
}

/// A filter, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapFilter(Vec<u8>);

impl LdapFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > LDAP_FILTER_BYTES_MAX {
            return Err(FilterError::Size);
        }
        let (filter, rest) = parse(text.trim(), 0)?;
        if rest.is_empty() { Ok(Self(filter)) } else { Err(FilterError::Form) }
    }

    /// Everything that is there.
    pub(crate) fn everything() -> Self {
        Self(element(PRESENT, b"objectClass"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.clone()
    }
}

/// The filter at the beginning of a text, and what follows it.
fn parse(text: &str, depth: usize) -> Result<(Vec<u8>, &str), FilterError> {
    if depth > DEPTH_MAX {
        return Err(FilterError::Size);
    }
    let inner = text.strip_prefix('(').ok_or(FilterError::Form)?;
    let (filter, rest) = match inner.as_bytes().first() {
        Some(b'&') => list(AND, &inner[1..], depth)?,
        Some(b'|') => list(OR, &inner[1..], depth)?,
        Some(b'!') => {
            let (filter, rest) = parse(inner[1..].trim_start(), depth + 1)?;
            (element(NOT, &filter), rest.trim_start())
        }
        _ => {
            let end = inner.find(['(', ')']).ok_or(FilterError::Form)?;
            let (item, rest) = inner.split_at(end);
            (one(item)?, rest)
        }
    };
    Ok((filter, rest.strip_prefix(')').ok_or(FilterError::Form)?))
}

fn list(tag: u8, text: &str, depth: usize) -> Result<(Vec<u8>, &str), FilterError> {
    let (mut parts, mut rest) = (Vec::new(), text.trim_start());
    while rest.starts_with('(') {
        let (part, after) = parse(rest, depth + 1)?;
        parts.push(part);
        rest = after.trim_start();
    }
    Ok((group(tag, &parts), rest))
}

/// One comparison.
fn one(item: &str) -> Result<Vec<u8>, FilterError> {
    let (left, value) = item.split_once('=').ok_or(FilterError::Form)?;
    let (tag, attribute) = match left.as_bytes().last() {
        Some(b'>') => (GREATER_OR_EQUAL, &left[..left.len() - 1]),
        Some(b'<') => (LESS_OR_EQUAL, &left[..left.len() - 1]),
        Some(b'~') => (APPROXIMATELY, &left[..left.len() - 1]),
        Some(b':') => return extensible(&left[..left.len() - 1], value),
        _ => (EQUAL, left),
    };
    let attribute = checked(attribute.trim())?;
    if tag == EQUAL && value == "*" {
        return Ok(element(PRESENT, attribute.as_bytes()));
    }
    if tag == EQUAL && value.contains('*') {
        return substrings(attribute, value);
    }
    Ok(group(tag, &[octets(attribute.as_bytes()), octets(&unescaped(value)?)]))
}

fn substrings(attribute: &str, value: &str) -> Result<Vec<u8>, FilterError> {
    let (mut parts, pieces) = (Vec::new(), value.split('*').count());
    for (index, piece) in value.split('*').enumerate() {
        let tag = match index {
            0 => INITIAL,
            _ if index + 1 == pieces => FINAL,
            _ => ANY,
        };
        if !piece.is_empty() {
            parts.push(element(tag, &unescaped(piece)?));
        }
    }
    if parts.is_empty() {
        return Err(FilterError::Form);
    }
    Ok(group(SUBSTRINGS, &[octets(attribute.as_bytes()), group(super::ber::SEQUENCE, &parts)]))
}

/// `attribute:dn:rule:=value`, each part but the value left out at will, yet an attribute or a rule there.
fn extensible(left: &str, value: &str) -> Result<Vec<u8>, FilterError> {
    let mut names = left.split(':');
    let attribute = names.next().unwrap_or_default();
    let (mut rule, mut of_name) = (None, false);
    for name in names {
        match name {
            name if name.eq_ignore_ascii_case("dn") && !of_name => of_name = true,
            name if rule.is_none() => rule = Some(checked(name)?),
            _ => return Err(FilterError::Form),
        }
    }
    let mut parts = Vec::new();
    parts.extend(rule.map(|rule| element(RULE, rule.as_bytes())));
    if !attribute.is_empty() {
        parts.push(element(TYPE, checked(attribute)?.as_bytes()));
    } else if rule.is_none() {
        return Err(FilterError::Attribute);
    }
    parts.push(element(VALUE, &unescaped(value)?));
    if of_name {
        parts.push(element(OF_NAME, &[0xFF]));
    }
    Ok(group(EXTENSIBLE, &parts))
}

/// The name of an attribute or rule: letters, digits, hyphens, dots, and options behind semicolons.
fn checked(name: &str) -> Result<&str, FilterError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';' | b'_');
    if !name.is_empty() && name.bytes().all(fits) { Ok(name) } else { Err(FilterError::Attribute) }
}

/// A value with `\2a` and the like resolved.
fn unescaped(value: &str) -> Result<Vec<u8>, FilterError> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2).ok_or(FilterError::Escape)?;
        let digits = std::str::from_utf8(digits).map_err(|_| FilterError::Escape)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(FilterError::Escape);
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| FilterError::Escape)?);
        rest = after;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FilterError, LdapFilter};

    fn hex(text: &str) -> String {
        let LdapFilter(bytes) = LdapFilter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn filters_are_written_as_the_protocol_has_them() {
        for (text, bytes) in [
            ("(uid=*)", "8703756964"),
            ("(uid=bo)", "a309040375696404026 26f"),
            ("(uid=\\2a)", "a3080403756964 04012a"),
            ("(a>=1)", "a506040161040131"),
            ("(a<=1)", "a606040161040131"),
            ("(a~=1)", "a806040161040131"),
            ("(a=b*c*d)", "a40e04016130 09 800162 810163 820164"),
            ("(a=*c*)", "a4080401613003810163"),
            ("(!(a=*))", "a203870161"),
            ("(&(a=*)(b=*))", "a006870161870162"),
            ("(| (a=*) (b=*) )", "a106870161870162"),
            ("(&)", "a000"),
            ("(a:=b)", "a906820161830162"),
            ("(a:dn:1.2:=b)", "a90e8103312e32 820161 830162 8401ff"),
            ("(:1.2:=b)", "a9088103312e32830162"),
        ] {
            assert_eq!(hex(text), bytes.replace(' ', ""), "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_told() {
        for (text, error) in [
            ("", FilterError::Form),
            ("uid=a", FilterError::Form),
            ("(uid=a", FilterError::Form),
            ("(uid=a))", FilterError::Form),
            ("(uid)", FilterError::Form),
            ("(&(a=b)", FilterError::Form),
            ("(a=**)", FilterError::Form),
            ("(=a)", FilterError::Attribute),
            ("(a b=c)", FilterError::Attribute),
            ("(:=c)", FilterError::Attribute),
            ("(a=\\2)", FilterError::Escape),
            ("(a=\\+1)", FilterError::Escape),
        ] {
            assert_eq!(LdapFilter::parse(text), Err(error), "{text}");
        }
        let deep = format!("{}(a=b){}", "(!".repeat(30), ")".repeat(30));
        assert_eq!(LdapFilter::parse(&deep), Err(FilterError::Size));
        assert_eq!(LdapFilter::parse(&format!("(a={})", "b".repeat(5_000))), Err(FilterError::Size));
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "[(&|!)a=*\\\\0-9:ü<>~ ]{0,40}|\\PC{0,40}") {
            let _ = LdapFilter::parse(&text);
        }
    }
}
