//! Patterns of addresses.

/// A text with `*` for any number of characters and `?` for one; the case of letters makes no difference.
#[derive(Debug, Clone)]
pub(crate) struct Glob(Vec<char>);

impl Glob {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_lowercase().chars().collect())
    }

    /// Whether the whole text is what the pattern says. Takes time of the order of both lengths multiplied at most.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let pattern = &self.0;
        let (mut at, mut from) = (0, 0);
        // The last `*`, and the place in the text to which it reaches.
        let mut star: Option<(usize, usize)> = None;
        while from < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, from));
                    at += 1;
                }
                Some(one) if *one == '?' || *one == text[from] => {
                    at += 1;
                    from += 1;
                }
                _ => match &mut star {
                    Some((place, reach)) => {
                        *reach += 1;
                        (at, from) = (*place + 1, *reach);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Glob;

    #[test]
    fn stars_and_question_marks() {
        for (glob, text, matches) in [
            ("*.intranet.example", "a.intranet.example", true),
            ("*.intranet.example", "intranet.example", false),
            ("http://*", "HTTP://a.example/", true),
            ("h?st", "host", true),
            ("h?st", "hst", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("", "", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), matches, "{glob} {text}");
        }
    }

    /// The definition.
    fn slow(glob: &[char], text: &[char]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            Some((one, rest)) => {
                text.split_first().is_some_and(|(first, text)| (*one == '?' || one == first) && slow(rest, text))
            }
        }
    }

    proptest! {
        #[test]
        fn as_defined(glob in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::new(&glob).matches(&text), slow(&chars(&glob), &chars(&text)));
        }
    }
}
