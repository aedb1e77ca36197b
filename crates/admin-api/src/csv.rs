//! Tables for spreadsheets (RFC 4180).

/// A cell, in quotation marks. It never begins with what spreadsheets take for a formula.
pub(crate) fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula_or_ends_early() {
        assert_eq!(cell("@alice:a.example"), "\"'@alice:a.example\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("\t=1+1"), "\"'\t=1+1\"");
        assert_eq!(cell("say \"no\", then"), "\"say \"\"no\"\", then\"");
    }
}
