//! Reading filters: a recursive descent with limits of length, depth and terms.

use serde_json::Value;

use super::{Comparison, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, Filter, Name};
use crate::{
    ScimError,
    schema::{ENTERPRISE_URN, GROUP_URN, USER_URN},
};

/// What is left of a filter.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    terms: usize,
}

fn wrong<T>(sentence: &str) -> Result<T, ScimError> {
    Err(ScimError::InvalidFilter(sentence.to_owned()))
}

pub(super) fn filter(text: &str) -> Result<Filter, ScimError> {
    if text.len() > FILTER_BYTES_MAX {
        return wrong(&format!("has more than {FILTER_BYTES_MAX} bytes."));
    }
    let mut reader = Reader { rest: text, depth: 0, terms: 0 };
    let filter = reader.either()?;
    reader.space();
    if reader.rest.is_empty() { Ok(filter) } else { wrong("something stands behind its end.") }
}

/// The name of an attribute; none where it cannot be one.
pub(super) fn name(text: &str) -> Option<Name> {
    let (extension, local) = match text.get(..4).filter(|start| start.eq_ignore_ascii_case("urn:")) {
        None => (false, text),
        Some(_) => {
            let (urn, local) = text.rsplit_once(':')?;
            let known =
                [USER_URN, GROUP_URN, ENTERPRISE_URN].into_iter().find(|known| known.eq_ignore_ascii_case(urn))?;
            (known == ENTERPRISE_URN, local)
        }
    };
    let (attribute, part) = match local.split_once('.') {
        Some((attribute, part)) => (attribute, Some(part)),
        None => (local, None),
    };
    let good = |word: &str| {
        let first = word.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'$');
        first && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte))
    };
    let small = |word: &str| word.to_ascii_lowercase().into_boxed_str();
    (good(attribute) && part.is_none_or(good)).then(|| Name {
        extension,
        attribute: small(attribute),
        part: part.map(small),
    })
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Takes a character if it is the next one.
    fn take(&mut self, char: char) -> bool {
        self.space();
        match self.rest.strip_prefix(char) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The next word, without taking it.
    fn word(&mut self) -> &'a str {
        self.space();
        let end = self.rest.find([' ', '\t', '(', ')', '[', ']', '"']).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    /// Takes a word if it is the next one, in any case.
    fn take_word(&mut self, wanted: &str) -> bool {
        let word = self.word();
        let found = word.eq_ignore_ascii_case(wanted);
        if found {
            self.rest = &self.rest[word.len()..];
        }
        found
    }

    fn either(&mut self) -> Result<Filter, ScimError> {
        let mut filter = self.both()?;
        while self.take_word("or") {
            filter = Filter::Or(Box::new(filter), Box::new(self.both()?));
        }
        Ok(filter)
    }

    fn both(&mut self) -> Result<Filter, ScimError> {
        let mut filter = self.term()?;
        while self.take_word("and") {
            filter = Filter::And(Box::new(filter), Box::new(self.term()?));
        }
        Ok(filter)
    }

    /// What stands between a bracket and its counterpart.
    fn inner(&mut self, end: char) -> Result<Box<Filter>, ScimError> {
        self.depth += 1;
        if self.depth > FILTER_DEPTH_MAX {
            return wrong(&format!("is nested deeper than {FILTER_DEPTH_MAX} levels."));
        }
        let filter = self.either()?;
        if !self.take(end) {
            return wrong(&format!("a \"{end}\" is missing."));
        }
        self.depth -= 1;
        Ok(Box::new(filter))
    }

    fn term(&mut self) -> Result<Filter, ScimError> {
        self.terms += 1;
        if self.terms > FILTER_TERMS_MAX {
            return wrong(&format!("has more than {FILTER_TERMS_MAX} terms."));
        }
        if self.take('(') {
            return Ok(*self.inner(')')?);
        }
        let before = self.rest;
        if self.take_word("not") {
            if self.take('(') {
                return Ok(Filter::Not(self.inner(')')?));
            }
            self.rest = before;
        }
        let word = self.word();
        let Some(name) = name(word) else { return wrong("the name of an attribute is missing or unknown.") };
        self.rest = &self.rest[word.len()..];
        if self.rest.starts_with('[') {
            self.take('[');
            return Ok(Filter::Within(name, self.inner(']')?));
        }
        if self.take_word("pr") {
            return Ok(Filter::Present(name));
        }
        self.comparison(name)
    }

    fn comparison(&mut self, name: Name) -> Result<Filter, ScimError> {
        const KNOWN: [(&str, Comparison); 9] = [
            ("eq", Comparison::Eq),
            ("ne", Comparison::Ne),
            ("co", Comparison::Co),
            ("sw", Comparison::Sw),
            ("ew", Comparison::Ew),
            ("gt", Comparison::Gt),
            ("ge", Comparison::Ge),
            ("lt", Comparison::Lt),
            ("le", Comparison::Le),
        ];
        let Some((_, comparison)) = KNOWN.into_iter().find(|(word, _)| self.take_word(word)) else {
            return wrong("an operator is missing or unknown.");
        };
        let value = self.value()?;
        let ordered = !matches!(comparison, Comparison::Eq | Comparison::Ne);
        if ordered && (value.is_boolean() || value.is_null()) {
            return wrong("true, false and null are only compared with eq and ne.");
        }
        if matches!(comparison, Comparison::Co | Comparison::Sw | Comparison::Ew) && !value.is_string() {
            return wrong("co, sw and ew compare texts.");
        }
        Ok(Filter::Compare(name, comparison, value))
    }

    fn value(&mut self) -> Result<Value, ScimError> {
        self.space();
        let end = if self.rest.starts_with('"') { end_of_text(self.rest) } else { Some(self.word().len()) };
        let Some(end) = end else { return wrong("a text has no end.") };
        let (value, rest) = self.rest.split_at(end);
        let value = serde_json::from_str(value);
        let Some(value) = value.ok().filter(|value: &Value| !value.is_array() && !value.is_object()) else {
            return wrong("a value is missing or is no text, number, true, false or null.");
        };
        self.rest = rest;
        Ok(value)
    }
}

/// Where a text ends that begins with a quotation mark.
fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}
