//! Finds which field of a JSON text an error position belongs to, so that the answer can name it.
//!
//! serde_json reports a line and a column; the types that ruma parses into are private, so paths cannot be tracked
//! while parsing. This runs only for bodies that were refused.

/// Deepest nesting that is followed; below it the enclosing field is named.
const DEPTH_MAX: usize = 64;

/// Longest path that is reported, in bytes.
const PATH_BYTES_MAX: usize = 200;

/// Byte offset of serde_json's position: lines from 1, columns are bytes read in that line.
pub(crate) fn offset(json: &str, line: usize, column: usize) -> usize {
    let start = match line.checked_sub(2) {
        None => 0,
        Some(newlines) => json.match_indices('\n').nth(newlines).map_or(json.len(), |(at, _)| at + 1),
    };
    start.saturating_add(column).min(json.len())
}

/// Path of the value at `offset`, such as `initial_state[2].content`; empty for the whole body.
///
/// Errors about a missing field are placed right after the object that lacks it.
pub(crate) fn locate(json: &str, offset: usize) -> String {
    let mut walk = Walk { json: json.as_bytes(), at: 0, offset, best: None };
    walk.value(&mut Vec::new());
    walk.best.map_or_else(String::new, |steps| render(&steps))
}

#[derive(Clone)]
enum Step<'a> {
    Key(&'a [u8]),
    Index(usize),
}

struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    offset: usize,
    /// The value that starts last among those whose extent holds the offset.
    best: Option<Vec<Step<'a>>>,
}

impl<'a> Walk<'a> {
    /// Walks one value; true as long as the text makes sense.
    fn value(&mut self, steps: &mut Vec<Step<'a>>) -> bool {
        self.blank();
        let start = self.at;
        let inner_before = self.best.is_some();
        let sound = match self.json.get(self.at) {
            Some(b'{') => self.members(steps, b'}'),
            Some(b'[') => self.members(steps, b']'),
            Some(b'"') => self.string().is_some(),
            Some(_) => {
                self.scalar();
                self.at > start
            }
            None => false,
        };
        // Where the text breaks off, the innermost open value is the one.
        let holds = start <= self.offset && (self.offset <= self.at || !sound);
        if holds && self.best.is_some() == inner_before {
            self.best = Some(steps.clone());
        }
        sound && self.at <= self.offset
    }

    fn members(&mut self, steps: &mut Vec<Step<'a>>, close: u8) -> bool {
        self.at += 1;
        for index in 0.. {
            self.blank();
            match self.json.get(self.at) {
                Some(byte) if *byte == close => {
                    self.at += 1;
                    return true;
                }
                Some(b',') if index > 0 => {
                    self.at += 1;
                    self.blank();
                }
                Some(_) if index == 0 => {}
                _ => return false,
            }
            let step = if close == b'}' {
                let Some(key) = self.string() else { return false };
                self.blank();
                if self.json.get(self.at) != Some(&b':') {
                    return false;
                }
                self.at += 1;
                Step::Key(key)
            } else {
                Step::Index(index)
            };
            if steps.len() >= DEPTH_MAX {
                return false;
            }
            steps.push(step);
            let go_on = self.value(steps);
            steps.pop();
            if !go_on {
                return false;
            }
        }
        false
    }

    /// A string literal; its text without the quotes, escapes as they are.
    fn string(&mut self) -> Option<&'a [u8]> {
        if self.json.get(self.at) != Some(&b'"') {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        loop {
            match self.json.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        self.json.get(start..at)
    }

    fn scalar(&mut self) {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'}' | b']' | b'{' | b'[' | b'"');
        while self.json.get(self.at).is_some_and(|byte| !ends(byte)) {
            self.at += 1;
        }
    }

    fn blank(&mut self) {
        while self.json.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }
}

fn render(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(key));
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    if path.len() > PATH_BYTES_MAX {
        path.truncate(path.floor_char_boundary(PATH_BYTES_MAX));
        path.push('…');
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::{locate, offset};

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        name: String,
        list: Vec<Inner>,
        #[serde(default)]
        count: u8,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only parsed")]
    struct Inner {
        x: i32,
        y: bool,
    }

    fn path(json: &str) -> String {
        let error = serde_json::from_str::<Outer>(json).unwrap_err();
        locate(json, offset(json, error.line(), error.column()))
    }

    #[test]
    fn wrong_types_are_found() {
        assert_eq!(path(r#"{"name": 5, "list": []}"#), "name");
        assert_eq!(path(r#"{"name": {"a":1}, "list": []}"#), "name");
        assert_eq!(path(r#"{"name": [], "list": []}"#), "name");
        assert_eq!(path(r#"{"name": "n", "list": [{"x":1,"y":true}, {"x":1,"y":"no"}]}"#), "list[1].y");
        assert_eq!(path("{\"name\": \"n\",\n \"list\": [\n{\"x\": null,\n\"y\":true}]}"), "list[0].x");
        assert_eq!(path(r#"{"name": "n", "list": "x"}"#), "list");
        assert_eq!(path(r#"{"name": "n", "list": [], "count": 300}"#), "count");
        assert_eq!(path(r#"{"name": "n", "list": [], "count": -1 }"#), "count");
    }

    #[test]
    fn missing_fields_are_found_in_their_object() {
        assert_eq!(path(r#"{"list": []}"#), "");
        assert_eq!(path("{}"), "");
        assert_eq!(path(r#"{"name": "n", "list": [{"x":1}]}"#), "list[0]");
        assert_eq!(path(r#"{"name": "n", "list": [{"x":1,"y":true},{ }]}"#), "list[1]");
    }

    proptest! {
        #[test]
        fn junk_never_panics(json in ".{0,80}", line in 0_usize..4, column in 0_usize..100) {
            locate(&json, offset(&json, line, column));
        }

        #[test]
        fn nested_junk_never_panics(json in "[\\[\\]{}\",:a1 \\\\]{0,300}", at in 0_usize..300) {
            locate(&json, at);
        }
    }
}
