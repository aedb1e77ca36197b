//! Patterns of push rules: `*` stands for any number of characters, `?` for one.
//!
//! [Glob-style matching](https://spec.matrix.org/v1.19/appendices/#glob-style-matching). Pattern and text come from
//! users, so the cost is bounded by the product of their lengths whatever they say: all ways to match are followed at
//! once, none is tried after another. Both sides are expected in lower case.

/// Characters of a pattern; longer ones match nothing.
const PATTERN_CHARS_MAX: usize = 255;

/// About how many steps it takes to look for a pattern in a text.
pub(crate) fn steps(pattern: &str, text: &str) -> usize {
    // Text without wildcards is found many bytes at a time.
    if has_wildcards(pattern) { pattern.len().saturating_mul(text.len()) } else { text.len() / 8 }
}

/// Whether the whole text matches.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    if !has_wildcards(pattern) {
        return pattern == text;
    }
    Ways::new(pattern).is_some_and(|mut ways| {
        ways.start();
        text.chars().for_each(|character| ways.step(character));
        ways.arrived()
    })
}

/// Whether a part of the text matches that starts and ends at a word boundary.
pub(crate) fn matches_words(pattern: &str, text: &str) -> bool {
    if pattern.is_empty() {
        return false;
    }
    if !has_wildcards(pattern) {
        return has_words(pattern, text);
    }
    let Some(mut ways) = Ways::new(pattern) else { return false };
    let mut before = None;
    for character in text.chars() {
        if is_boundary(before, Some(character)) {
            if ways.arrived() {
                return true;
            }
            ways.start();
        }
        ways.step(character);
        before = Some(character);
    }
    ways.start();
    ways.arrived()
}

fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// Whether the text has these words, wildcards or not.
pub(crate) fn has_words(words: &str, text: &str) -> bool {
    if words.is_empty() || words.chars().nth(PATTERN_CHARS_MAX).is_some() {
        return false;
    }
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(words)) {
        let (start, end) = (from + found, from + found + words.len());
        let at = |position: usize| is_boundary(text[..position].chars().next_back(), text[position..].chars().next());
        if at(start) && at(end) {
            return true;
        }
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    false
}

/// Between two characters, or at an end of the text.
fn is_boundary(before: Option<char>, after: Option<char>) -> bool {
    let in_word = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    !in_word(before) || !in_word(after)
}

/// The places in a pattern that the text so far leads to.
struct Ways {
    pattern: Vec<char>,
    /// Whether the pattern's first so many characters match; one more entry than the pattern has characters.
    reached: Vec<bool>,
    next: Vec<bool>,
}

impl Ways {
    fn new(pattern: &str) -> Option<Self> {
        let pattern: Vec<char> = pattern.chars().collect();
        if pattern.len() > PATTERN_CHARS_MAX {
            return None;
        }
        let none = vec![false; pattern.len() + 1];
        Some(Self { pattern, reached: none.clone(), next: none })
    }

    /// A match may start here.
    fn start(&mut self) {
        Self::reach(&self.pattern, &mut self.reached, 0);
    }

    /// Reaches a place, and those behind it that need no further character.
    fn reach(pattern: &[char], reached: &mut [bool], mut place: usize) {
        reached[place] = true;
        while pattern.get(place) == Some(&'*') {
            place += 1;
            reached[place] = true;
        }
    }

    fn step(&mut self, character: char) {
        self.next.fill(false);
        for (place, wanted) in self.pattern.iter().enumerate().filter(|(place, _)| self.reached[*place]) {
            match wanted {
                '*' => Self::reach(&self.pattern, &mut self.next, place),
                '?' => Self::reach(&self.pattern, &mut self.next, place + 1),
                _ if *wanted == character => Self::reach(&self.pattern, &mut self.next, place + 1),
                _ => {}
            }
        }
        std::mem::swap(&mut self.reached, &mut self.next);
    }

    fn arrived(&self) -> bool {
        self.reached.last() == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PATTERN_CHARS_MAX, matches, matches_words};

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, text) in [
            ("m.room.message", "m.room.message"),
            ("m.*", "m."),
            ("*", ""),
            ("?", "ä"),
            ("a*b*c", "aXbYbZc"),
            ("**a", "a"),
            ("*?", "x"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("?", ""), ("a*b", "a"), ("a?c", "ac"), ("*a", "ab"), ("", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn words_start_and_end_at_boundaries() {
        for (pattern, text) in [
            ("cake", "cake"),
            ("cake", "a piece of cake!"),
            ("ex*ple", "an example event."),
            ("ex*ple", "exple"),
            ("ex*ple", "an exciting triple-whammy"),
            ("a a", "ba a a"),
            ("foo", "foobar foo"),
            ("m?x", "all in the mix."),
            ("⚡", "conduit⚡"),
            ("conduit", "conduit⚡"),
            ("*", "anything"),
        ] {
            assert!(matches_words(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("cake", "cakes"),
            ("cake", "pancake"),
            ("", "cake"),
            ("", ""),
            ("bar bar", "foobar bar"),
            ("m?x", "mixed"),
            ("foo", "foo_bar"),
            ("ex*ple", "exples"),
        ] {
            assert!(!matches_words(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_others() {
        let text = "a".repeat(65_536);
        let pattern = "*a".repeat(PATTERN_CHARS_MAX / 2) + "b";
        assert!(!matches(&pattern, &text));
        assert!(!matches_words(&pattern, &text));
        assert!(!matches_words(&"a".repeat(PATTERN_CHARS_MAX), &(text + "a")));
        assert!(!matches("*".repeat(PATTERN_CHARS_MAX + 1).as_str(), "a"));
        let words = "xab ".repeat(16_384);
        assert!(!matches_words("ab", &words));
    }

    /// The definition, tried out one way after another.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => naive(rest, text),
            (Some(('*', rest)), Some((_, text_rest))) => naive(rest, text) || naive(pattern, text_rest),
            (Some(('?', rest)), Some((_, text_rest))) => naive(rest, text_rest),
            (Some((wanted, rest)), Some((got, text_rest))) => wanted == got && naive(rest, text_rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*? ]{0,8}", text in "[ab ]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            let (p, t) = (chars(&pattern), chars(&text));
            prop_assert_eq!(matches(&pattern, &text), naive(&p, &t));
            let boundary = |at: usize| at == 0 || at == t.len() || t[at - 1] == ' ' || t[at] == ' ';
            let found = (0..=t.len()).any(|start| (start..=t.len()).any(|end| {
                boundary(start) && boundary(end) && naive(&p, &t[start..end])
            }));
            // The empty pattern stands for nothing.
            prop_assert_eq!(matches_words(&pattern, &text), found && !pattern.is_empty());
        }
    }
}
