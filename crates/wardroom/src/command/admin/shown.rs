//! How answers are shown to people: tables, facts and sentences; or to scripts, as JSON.

use serde_json::Value;
use wardroom_clock::timestamp;

/// What stands for a character that a terminal would act on.
const REPLACED: char = '\u{fffd}';
/// Between two columns.
const GAP: &str = "  ";

/// What the server answered.
#[derive(Debug)]
pub(super) struct Answer {
    text: String,
    json: Value,
}

/// A column: its head, and what stands in it.
pub(super) type Column = (&'static str, fn(&Value) -> String);

impl Answer {
    /// A sentence.
    pub(super) fn sentence(sentence: &str, json: Value) -> Self {
        Self::text(format!("{}\n", cleaned(sentence)), json)
    }

    /// Text as it is, with its line ends.
    pub(super) const fn text(text: String, json: Value) -> Self {
        Self { text, json }
    }

    /// A line for each entry, or `none` where there is none.
    pub(super) fn table(entries: Vec<Value>, columns: &[Column], none: &str) -> Self {
        let text = if entries.is_empty() { format!("{none}\n") } else { aligned(&rows(&entries, columns)) };
        Self { text, json: Value::Array(entries) }
    }

    /// A line for each fact.
    pub(super) fn facts(of: Value, facts: &[Column]) -> Self {
        let lines: Vec<Vec<String>> =
            facts.iter().map(|(name, fact)| vec![format!("{name}:"), cleaned(&fact(&of))]).collect();
        Self { text: aligned(&lines), json: of }
    }

    /// With other JSON than what the text was made from.
    pub(super) fn with_json(self, json: Value) -> Self {
        Self { json, ..self }
    }

    /// What is printed.
    pub(super) fn printed(&self, as_json: bool) -> String {
        if as_json { format!("{:#}\n", self.json) } else { self.text.clone() }
    }
}

/// A heading, and a row of cells for each entry.
fn rows(entries: &[Value], columns: &[Column]) -> Vec<Vec<String>> {
    let head = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
    let row = |entry: &Value| columns.iter().map(|(_, cell)| cleaned(&cell(entry))).collect();
    std::iter::once(head).chain(entries.iter().map(row)).collect()
}

/// Rows as lines whose columns stand below each other.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(padded.collect::<Vec<_>>().join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// A table for spreadsheets (RFC 4180). Nothing in it begins with what those take for a formula.
pub(super) fn csv(entries: &[Value], columns: &[Column]) -> String {
    let cell = |text: &String| {
        let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    };
    let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n";
    rows(entries, columns).iter().map(line).collect()
}

/// Text without what would act on a terminal or turn its writing around.
pub(super) fn cleaned(text: &str) -> String {
    let acts = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if acts(c) { REPLACED } else { c }).collect()
}

/// A field as text: nothing where there is none, lists with spaces between.
pub(super) fn field(of: &Value, name: &str) -> String {
    text(of.get(name).unwrap_or(&Value::Null))
}

/// The entries of a list.
pub(super) fn entries(of: &Value, name: &str) -> Vec<Value> {
    of.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// An entry with one more field.
pub(super) fn with(mut entry: Value, name: &str, value: Value) -> Value {
    if let Value::Object(fields) = &mut entry {
        fields.insert(name.to_owned(), value);
    }
    entry
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A field with milliseconds since 1970 as a time.
pub(super) fn time(of: &Value, name: &str) -> String {
    let ms = of.get(name).and_then(Value::as_u64).filter(|ms| *ms > 0);
    ms.map(timestamp::format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Answer, Column, csv, field, time};

    const COLUMNS: &[Column] = &[("NAME", |of| field(of, "name")), ("ROLES", |of| field(of, "roles"))];

    #[test]
    fn columns_stand_below_each_other() {
        let entries =
            vec![json!({ "name": "Zoë", "roles": ["a@b", "c@d"] }), json!({ "name": "A\nlong\u{1b}[1m one" })];
        let answer = Answer::table(entries.clone(), COLUMNS, "Nobody.");
        let expected = "NAME            ROLES\nZoë             a@b c@d\nA\u{fffd}long\u{fffd}[1m one\n";
        assert_eq!(answer.printed(false), expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&answer.printed(true)).unwrap(), json!(entries));
        assert_eq!(Answer::table(Vec::new(), COLUMNS, "Nobody.").printed(false), "Nobody.\n");
    }

    #[test]
    fn no_cell_of_a_spreadsheet_is_a_formula_or_ends_early() {
        let entries = [json!({ "name": "@alice:a.example", "roles": "say \"no\", then" })];
        let expected = "\"NAME\",\"ROLES\"\r\n\"'@alice:a.example\",\"say \"\"no\"\", then\"\r\n";
        assert_eq!(csv(&entries, COLUMNS), expected);
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(time(&json!({ "ts": 951_782_400_000_u64 }), "ts"), "2000-02-29T00:00:00.000Z");
        assert_eq!(time(&json!({ "ts": null }), "ts"), "");
    }
}
