//! The form of JSON that other servers sign although it is no canonical JSON.
//!
//! A request carries what users of its sender wrote: fractions in messages to devices, numbers beyond 2^53, objects
//! nested hundreds deep. Servers sign that all the same, with sorted keys and the numbers as they are. Such a request has to
//! be read, or one message would stop everything that its server has to say; what in it is no event is dropped later.

use std::mem;

use serde_json::error::Error as JsonError;

use crate::pdu_format::ParseError;

/// Objects and lists within each other: more than other servers can write.
const DEPTH_MAX: usize = 1_500;
/// How often the text may be moved, on average, to sort keys within keys: sorted texts, as servers write them, are not.
const MOVES_MAX: usize = 64;

/// An object or list under way.
enum Open {
    /// The fields with where they begin in what was written, and where the object begins.
    Object(usize, Vec<(String, usize)>),
    List,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value, or the end of a list that has none.
    ValueOrEnd,
    Key,
    /// A key, or the end of an object that has none.
    KeyOrEnd,
    /// A comma, or the end of what is open.
    CommaOrEnd,
}

/// JSON with sorted keys and without white space, its numbers as they are written. Nothing here is recursive.
///
/// Of a key that is there twice, the last counts.
///
/// # Errors
/// [`ParseError::Json`] for what is no JSON, [`ParseError::NotAnObject`] for what is no object or nested too deep to be
/// one that a server has written.
pub fn json_as_written(text: &[u8]) -> Result<String, ParseError> {
    let mut walk = Walk { text, at: 0, out: Vec::with_capacity(text.len()), open: Vec::new(), moved: 0 };
    walk.run()?;
    // Only whole strings and tokens of ASCII were written.
    String::from_utf8(walk.out).map_err(|_| ParseError::NotAnObject)
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    open: Vec<Open>,
    moved: usize,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), ParseError> {
        self.blank();
        if self.text.get(self.at) != Some(&b'{') {
            return Err(self.broken());
        }
        let mut next = Next::Value;
        loop {
            self.blank();
            let byte = self.text.get(self.at).copied();
            next = match (next, byte) {
                (Next::ValueOrEnd, Some(b']')) | (Next::KeyOrEnd, Some(b'}')) => self.close(byte)?,
                (Next::CommaOrEnd, Some(b'}' | b']')) => self.close(byte)?,
                (Next::CommaOrEnd, Some(b',')) => self.comma(),
                (Next::Key | Next::KeyOrEnd, Some(b'"')) => self.key()?,
                (Next::Value | Next::ValueOrEnd, Some(b'{')) => self.begin(Open::Object(self.out.len(), Vec::new()))?,
                (Next::Value | Next::ValueOrEnd, Some(b'[')) => self.begin(Open::List)?,
                (Next::Value | Next::ValueOrEnd, Some(_)) => self.scalar()?,
                _ => return Err(self.broken()),
            };
            if self.open.is_empty() {
                self.blank();
                return if self.at == self.text.len() { Ok(()) } else { Err(self.broken()) };
            }
        }
    }

    fn blank(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What is wrong, in the words of the reader that everything else is read with, as far as that finds it wrong.
    fn broken(&self) -> ParseError {
        let rest = self.text.get(self.at..).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(rest).map_or_else(ParseError::Json, |_| ParseError::NotAnObject)
    }

    fn begin(&mut self, open: Open) -> Result<Next, ParseError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(ParseError::NotAnObject);
        }
        let (byte, next) = match open {
            Open::Object(..) => (b'{', Next::KeyOrEnd),
            Open::List => (b'[', Next::ValueOrEnd),
        };
        self.open.push(open);
        self.out.push(byte);
        self.at += 1;
        Ok(next)
    }

    fn comma(&mut self) -> Next {
        self.at += 1;
        self.out.push(b',');
        if matches!(self.open.last(), Some(Open::Object(..))) { Next::Key } else { Next::Value }
    }

    fn key(&mut self) -> Result<Next, ParseError> {
        let key: String = serde_json::from_slice(self.string()?)?;
        self.blank();
        if self.text.get(self.at) != Some(&b':') {
            return Err(self.broken());
        }
        self.at += 1;
        let begin = self.out.len();
        serde_json::to_writer(&mut self.out, &key)?;
        self.out.push(b':');
        if let Some(Open::Object(_, fields)) = self.open.last_mut() {
            fields.push((key, begin));
        }
        Ok(Next::Value)
    }

    fn close(&mut self, byte: Option<u8>) -> Result<Next, ParseError> {
        match (self.open.pop(), byte) {
            (Some(Open::List), Some(b']')) => self.out.push(b']'),
            (Some(Open::Object(begin, fields)), Some(b'}')) => self.sort(begin, &fields)?,
            _ => return Err(self.broken()),
        }
        self.at += 1;
        Ok(Next::CommaOrEnd)
    }

    /// Puts the fields of an object that ends here into order.
    fn sort(&mut self, begin: usize, fields: &[(String, usize)]) -> Result<(), ParseError> {
        let end = self.out.len();
        let is_sorted = fields.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
        if !is_sorted {
            self.moved = self.moved.saturating_add(end - begin);
            if self.moved > self.text.len().saturating_mul(MOVES_MAX) {
                return Err(ParseError::NotAnObject);
            }
            // Before the next field there is a comma.
            let ends = fields.iter().skip(1).map(|(_, next)| *next - 1).chain([end]);
            let mut spans: Vec<(&str, usize, usize)> =
                fields.iter().zip(ends).map(|((key, from), to)| (key.as_str(), *from, to)).collect();
            // Stable: of those with the same key the last one stays last.
            spans.sort_by_key(|(key, ..)| *key);
            let old = self.out.split_off(begin);
            self.out.push(b'{');
            let mut spans = spans.into_iter().peekable();
            let mut first = true;
            while let Some((key, from, to)) = spans.next() {
                if spans.peek().is_some_and(|(next, ..)| *next == key) {
                    continue;
                }
                if !mem::replace(&mut first, false) {
                    self.out.push(b',');
                }
                self.out.extend_from_slice(old.get(from - begin..to - begin).unwrap_or_default());
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The token of a string.
    fn string(&mut self) -> Result<&[u8], ParseError> {
        let begin = self.at;
        let mut at = begin + 1;
        loop {
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err(self.broken()),
            }
        }
        self.at = at + 1;
        Ok(self.text.get(begin..=at).unwrap_or_default())
    }

    fn scalar(&mut self) -> Result<Next, ParseError> {
        if self.text.get(self.at) == Some(&b'"') {
            let text: String = serde_json::from_slice(self.string()?)?;
            serde_json::to_writer(&mut self.out, &text)?;
            return Ok(Next::CommaOrEnd);
        }
        let ends =
            |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'{' | b'[' | b'"' | b':') || byte.is_ascii_whitespace();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        let token = rest.get(..length).unwrap_or_default();
        check_scalar(token)?;
        self.out.extend_from_slice(token);
        self.at += length;
        Ok(Next::CommaOrEnd)
    }
}

/// A number, `true`, `false` or `null`.
fn check_scalar(token: &[u8]) -> Result<(), JsonError> {
    match serde_json::from_slice::<serde_json::Value>(token) {
        Ok(_) => Ok(()),
        // 1e999 is JSON, though no number of ours.
        Err(error) if error.to_string().starts_with("number out of range") => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{DEPTH_MAX, json_as_written};
    use crate::canonical_json;

    fn written(text: &str) -> Option<String> {
        json_as_written(text.as_bytes()).ok()
    }

    #[test]
    fn keys_are_sorted_and_numbers_stay() {
        for (text, expected) in [
            ("{}", "{}"),
            (" { } ", "{}"),
            (r#"{"b":1.10,"a":[ 1e3, -0 , 1.0,[],{} ]}"#, r#"{"a":[1e3,-0,1.0,[],{}],"b":1.10}"#),
            (r#"{"a":{"d":1,"c":{"f":0,"e":null}},"B":true}"#, r#"{"B":true,"a":{"c":{"e":null,"f":0},"d":1}}"#),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (r#"{"\u0061":"\u00e9\n\/"}"#, "{\"a\":\"é\\n/\"}"),
            (r#"{"a":123456789012345678901234567890,"b":1e999}"#, r#"{"a":123456789012345678901234567890,"b":1e999}"#),
        ] {
            assert_eq!(written(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "{",
            "}",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":[1,]}",
            "{\"a\":[,]}",
            "{\"a\":1]",
            "{\"a\":[1}",
            "{} {}",
            "{\"a\":01}",
            "{\"a\":x}",
            "{\"a\":\"\\ud800\"}",
            "{a:1}",
            "{\"a\":\"",
            "{\"a\":1 2}",
            "{\"a\" 1}",
            "{\"a\":\"\u{1}\"}",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
        assert!(json_as_written(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn depth_has_an_end_and_costs_no_stack() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_eq!(written(&nested(1_000)), Some(nested(1_000)));
        assert_eq!(written(&nested(DEPTH_MAX + 1)), None);
        assert_eq!(written(&"[".repeat(1_000_000)), None);
    }

    #[test]
    fn sorting_has_an_end() {
        let mut text = format!("\"{}\"", "x".repeat(10_000));
        for _ in 0..1_000 {
            text = format!("{{\"b\":{text},\"a\":1}}");
        }
        assert_eq!(written(&text), None);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-1_000_i64..1_000).prop_map(Value::from),
            "[a-c\"\\\\\u{0}é😀]{0,4}".prop_map(Value::from),
        ];
        let tree = leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[a-c\"é]{0,2}", inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        });
        prop::collection::vec(("[a-d]{0,2}", tree), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn canonical_json_comes_out_as_such(value in value(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.unwrap();
            prop_assert_eq!(written(&text), canonical_json(text.as_bytes()).ok());
        }

        #[test]
        fn junk_is_refused_as_others_refuse_it(text in "[\\[\\]{}\",:a1.e \\\\-]{0,40}") {
            let is_object = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object());
            prop_assert_eq!(written(&text).is_some(), is_object);
        }
    }
}
