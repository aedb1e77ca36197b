//! Paths of properties in events.

/// Splits a path at its dots; a backslash takes the meaning from a dot or a backslash behind it
/// ([dot-separated property paths](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths)).
pub fn segments(path: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(last) = segments.last_mut() else { break };
        match character {
            '\\' => last.push(characters.next_if(|next| matches!(next, '.' | '\\')).unwrap_or('\\')),
            '.' => segments.push(String::new()),
            _ => last.push(character),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn a_backslash_escapes_dots_and_itself() {
        assert_eq!(segments("content.body"), ["content", "body"]);
        assert_eq!(segments(r"content.m\.relates_to"), ["content", "m.relates_to"]);
        assert_eq!(segments(r"a\\.b\x"), [r"a\", r"b\x"]);
        assert_eq!(segments(""), [""]);
        assert_eq!(segments(r"a\"), [r"a\"]);
    }
}
