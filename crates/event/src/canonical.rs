//! Canonical JSON: objects with sorted keys, integers only, no white space.
//!
//! [Specification](https://spec.matrix.org/v1.19/appendices/#canonical-json). The tree borrows strings from the text it
//! was read from. It is not ruma's `CanonicalJsonValue` for three reasons: that is built through a second, owned tree;
//! its errors do not say where; and it goes through `serde_json::Value`, which takes an object with the key
//! `$serde_json::private::RawValue` for the JSON inside that string, where other servers see an ordinary object.

use std::{borrow::Cow, fmt};

use ruma::{CanonicalJsonObject, CanonicalJsonValue, Int};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};

use crate::pdu_format::ParseError;

/// The largest integer of canonical JSON, 2^53 - 1; the smallest is its negation.
pub(crate) const INTEGER_MAX: i64 = (1 << 53) - 1;

/// 2^53.
const INTEGER_LIMIT: f64 = 9_007_199_254_740_992.0;

/// What `serde_json` writes in place of raw JSON. As a key in foreign JSON it can mislead readers that build on
/// `serde_json::Value`.
const RAW_VALUE_KEY: &str = "$serde_json::private::RawValue";

/// A JSON value, borrowing from its text where that has no escapes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number with an exponent or decimal places, or `-0`. Reading accepts this and the next, so that the checking
    /// walk can say where they stand.
    Float(f64),
    /// An integer that canonical JSON cannot hold.
    HugeInteger,
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Object<'a>),
}

/// A JSON object: its fields in the order of canonical JSON, each key once (of duplicates, the last).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Where and why JSON is not canonical.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Fault {
    /// The field, as in `content.list[3].power`. Long ones are cut.
    pub path: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Longer paths are cut: keys come from the sender and end in error messages.
pub(crate) const FAULT_PATH_BYTES_MAX: usize = 200;

const NOT_AN_INTEGER: &str = "not an integer between -2^53+1 and 2^53-1";
const RESERVED_KEY: &str = "key is reserved";

impl<'a> Json<'a> {
    /// Reads one JSON text. Numbers outside canonical JSON are accepted here, see [`Json::fault`].
    pub(crate) fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The first number that canonical JSON cannot hold, with its path under `root`.
    pub(crate) fn fault(&self, root: &str) -> Option<Fault> {
        self.find(root, NOT_AN_INTEGER, &|_| false)
    }

    /// The first object with a key that readers built on `serde_json::Value` take for something else.
    pub(crate) fn reserved_key(&self, root: &str) -> Option<Fault> {
        self.find(root, RESERVED_KEY, &|key| key == RAW_VALUE_KEY)
    }

    fn find(&self, root: &str, problem: &'static str, bad_key: &dyn Fn(&str) -> bool) -> Option<Fault> {
        let numbers = problem == NOT_AN_INTEGER;
        let mut segments = Vec::new();
        self.walk(numbers, bad_key, &mut segments).then(|| Fault { path: path(root, &segments), problem })
    }

    /// Whether there is a fault below; `segments` then holds the way to it, innermost first.
    fn walk<'t>(&'t self, numbers: bool, bad_key: &dyn Fn(&str) -> bool, segments: &mut Vec<Segment<'t>>) -> bool {
        match self {
            Self::Float(_) | Self::HugeInteger => numbers,
            Self::Array(items) => items.iter().enumerate().any(|(index, item)| {
                let found = item.walk(numbers, bad_key, segments);
                if found {
                    segments.push(Segment::Index(index));
                }
                found
            }),
            Self::Object(object) => object.iter().any(|(key, value)| {
                let found = bad_key(key) || value.walk(numbers, bad_key, segments);
                if found {
                    segments.push(Segment::Key(key));
                }
                found
            }),
            _ => false,
        }
    }

    /// Writes integers in the canonical way that were written otherwise, like `1e3` or `-0`.
    fn normalize_numbers(&mut self) {
        match self {
            Self::Float(value) if value.fract() == 0.0 && value.abs() < INTEGER_LIMIT => {
                #[expect(clippy::cast_possible_truncation, reason = "an integer in range")]
                let integer = *value as i64;
                *self = Self::Integer(integer);
            }
            Self::Array(items) => items.iter_mut().for_each(Self::normalize_numbers),
            Self::Object(object) => object.0.iter_mut().for_each(|(_, value)| value.normalize_numbers()),
            _ => {}
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Any JSON text in its canonical form.
///
/// Integers may be written in any way here. Events are stricter: room versions from 6 on refuse `1e3` and `-0` there.
pub fn canonical_json(text: &[u8]) -> Result<String, ParseError> {
    let mut tree = Json::read(text)?;
    tree.normalize_numbers();
    if let Some(fault) = tree.fault("") {
        return Err(fault.into());
    }
    Ok(serde_json::to_string(&tree)?)
}

#[derive(Clone, Copy)]
enum Segment<'t> {
    Key(&'t str),
    Index(usize),
}

fn path(root: &str, segments: &[Segment<'_>]) -> String {
    let mut path = root.to_owned();
    for segment in segments.iter().rev() {
        match segment {
            Segment::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Segment::Index(index) => path.push_str(&format!("[{index}]")),
        }
        if path.len() > FAULT_PATH_BYTES_MAX {
            path.truncate(path.floor_char_boundary(FAULT_PATH_BYTES_MAX - 3));
            path.push_str("...");
            break;
        }
    }
    path
}

impl<'a> Object<'a> {
    pub(crate) fn with_capacity(fields: usize) -> Self {
        Self(Vec::with_capacity(fields))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Json<'a>> {
        self.position(key).ok().map(|index| &self.0[index].1)
    }

    pub(crate) fn get_object(&self, key: &str) -> Option<&Object<'a>> {
        match self.get(key) {
            Some(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// Sets a field.
    pub(crate) fn insert(&mut self, key: impl Into<Cow<'a, str>>, value: Json<'a>) {
        let key = key.into();
        match self.position(&key) {
            Ok(index) => self.0[index].1 = value,
            Err(index) => self.0.insert(index, (key, value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Json<'a>> {
        self.position(key).ok().map(|index| self.0.remove(index).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(field, _)| field.as_ref().cmp(key))
    }

    /// From fields in any order; of duplicate keys the last stays.
    fn from_fields(mut fields: Vec<(Cow<'a, str>, Json<'a>)>) -> Self {
        if !fields.is_sorted_by(|a, b| a.0 < b.0) {
            // The sort is stable, so of equal keys the last in the text is the last here.
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields.reverse();
            fields.dedup_by(|a, b| a.0 == b.0);
            fields.reverse();
        }
        Self(fields)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Float(_) | Self::HugeInteger => Err(serde::ser::Error::custom(NOT_AN_INTEGER)),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(if (-INTEGER_MAX..=INTEGER_MAX).contains(&value) { Json::Integer(value) } else { Json::HugeInteger })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) if value <= INTEGER_MAX => Json::Integer(value),
            _ => Json::HugeInteger,
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            fields.push((key, value));
        }
        Ok(Json::Object(Object::from_fields(fields)))
    }
}

/// `Cow` alone always reads as owned.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl From<&Object<'_>> for CanonicalJsonObject {
    fn from(object: &Object<'_>) -> Self {
        object.iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    }
}

impl From<&Json<'_>> for CanonicalJsonValue {
    fn from(json: &Json<'_>) -> Self {
        match json {
            Json::Null | Json::Float(_) | Json::HugeInteger => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Integer(value) => Self::Integer(Int::new_saturating(*value)),
            Json::String(text) => Self::String(text.as_ref().to_owned()),
            Json::Array(items) => Self::Array(items.iter().map(Into::into).collect()),
            Json::Object(object) => Self::Object(object.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the specification's appendix on canonical JSON.
    #[test]
    fn writes_the_examples_of_the_specification() {
        let examples = [
            ("{}", "{}"),
            (r#"{"one": 1, "two": "Two"}"#, r#"{"one":1,"two":"Two"}"#),
            (r#"{"b": "2", "a": "1"}"#, r#"{"a":"1","b":"2"}"#),
            (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
            (
                r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",
                "three_pids": [{"medium": "email", "address": "john.doe@example.org"},
                {"medium": "msisdn", "address": "123456789"}]}}}"#,
                concat!(
                    r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","#,
                    r#""three_pids":[{"address":"john.doe@example.org","medium":"email"},"#,
                    r#"{"address":"123456789","medium":"msisdn"}]},"success":true}}"#
                ),
            ),
            (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
            (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
            (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
            (r#"{"a": null}"#, r#"{"a":null}"#),
            (r#"{"a": -0, "b": 1e10}"#, r#"{"a":0,"b":10000000000}"#),
        ];
        for (text, canonical) in examples {
            assert_eq!(canonical_json(text.as_bytes()).unwrap(), canonical);
        }
    }

    #[test]
    fn escapes_control_characters_only() {
        let text = r#""\u0000\u0001\u001F\u007f\b\t\n\f\r\"\\\/é𝄞""#;
        let canonical = concat!(r#""\u0000\u0001\u001f"#, "\u{7f}", r#"\b\t\n\f\r\"\\/é𝄞""#);
        assert_eq!(canonical_json(text.as_bytes()).unwrap(), canonical);
    }

    #[test]
    fn keeps_the_last_of_duplicate_keys() {
        assert_eq!(canonical_json(br#"{"b":1,"a":1,"b":2,"a":3,"b":4}"#).unwrap(), r#"{"a":3,"b":4}"#);
        assert_eq!(canonical_json(br#"{"a":1,"a":2}"#).unwrap(), r#"{"a":2}"#);
    }

    #[test]
    fn names_the_field_of_a_bad_number() {
        let fault = |text: &str| Json::read(text.as_bytes()).unwrap().fault("content").map(|fault| fault.to_string());
        for bad in ["1.0", "1.5", "1e3", "-0", "9007199254740992", "-9007199254740992", "18446744073709551616"] {
            let path = "content.a[1].power: not an integer between -2^53+1 and 2^53-1";
            assert_eq!(fault(&format!(r#"{{"a":[1,{{"power":{bad}}}]}}"#)).as_deref(), Some(path), "{bad}");
        }
        assert_eq!(fault("{\"max\":9007199254740991,\"min\":-9007199254740991}"), None);
        let long = fault(&format!(r#"{{"{}":1.5}}"#, "é".repeat(500))).unwrap();
        assert!(long.len() < FAULT_PATH_BYTES_MAX + 100);
    }

    #[test]
    fn refuses_what_is_not_json() {
        let nested = "[".repeat(10_000);
        for text in ["", "{", "{a:1}", "[1,]", "01", "\"\\ud800\"", "NaN", "1e400", "{} {}", nested.as_str()] {
            assert!(canonical_json(text.as_bytes()).is_err(), "{text:.20}");
        }
        assert!(canonical_json(b"\"\xff\"").is_err());
    }

    #[test]
    fn takes_no_object_for_raw_json() {
        let text = r#"{"$serde_json::private::RawValue":"[1]"}"#;
        assert_eq!(canonical_json(text.as_bytes()).unwrap(), text);
        let reserved = Json::read(br#"{"x":[{"$serde_json::private::RawValue":"[1]"}]}"#).unwrap();
        let fault = reserved.reserved_key("content").unwrap();
        assert_eq!(fault.path, "content.x[0].$serde_json::private::RawValue");
    }
}
