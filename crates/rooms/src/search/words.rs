//! What counts as a word.

/// Letters of a word; what a longer one has beyond does not tell it from others.
const WORD_CHARS_MAX: usize = 40;

/// The words of a text, in their order and in lower case: runs of letters and digits, and each sign of the scripts that
/// put no space between words.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    Words { rest: text }
}

struct Words<'a> {
    rest: &'a str,
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let start = self.rest.find(char::is_alphanumeric)?;
        let rest = &self.rest[start..];
        let mut characters = rest.char_indices();
        let (_, first) = characters.next()?;
        let belongs = |character: char| character.is_alphanumeric() && !stands_alone(character);
        let end = if stands_alone(first) {
            first.len_utf8()
        } else {
            characters.find(|(_, character)| !belongs(*character)).map_or(rest.len(), |(at, _)| at)
        };
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).collect())
    }
}

/// Whether a character is a word of its own: Han, Hiragana and Katakana.
fn stands_alone(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::{WORD_CHARS_MAX, words};

    fn of(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn words_are_letters_and_digits_in_any_case() {
        assert_eq!(of("Röntgen: Zimmer 12b, NICHT 12B!"), ["röntgen", "zimmer", "12b", "nicht", "12b"]);
        assert_eq!(of("don't  a-b\tc\nd"), ["don", "t", "a", "b", "c", "d"]);
        assert_eq!(of(" …!? "), Vec::<String>::new());
        assert_eq!(of("病院へ行く ok"), ["病", "院", "へ", "行", "く", "ok"]);
        assert_eq!(of(&"x".repeat(100)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    proptest! {
        #[test]
        fn any_text_has_its_words_whatever_the_case(text: String) {
            let words = of(&text);
            prop_assert!(words.iter().all(|word| !word.is_empty()));
            prop_assert!(words.len() <= text.chars().count());
        }
    }
}
