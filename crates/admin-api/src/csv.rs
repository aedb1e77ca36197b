//! Tables for spreadsheets (RFC 4180).

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use wardroom_web::ApiError;

use crate::endpoint::Asked;

/// Where a CSV has more pages: what the next one begins with.
pub(crate) const NEXT_TOKEN: &str = "x-next-token";

/// A cell. Nothing in it begins with what spreadsheets take for a formula.
pub(crate) fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// Rows, each an object: as JSON under `name` with `next`, or with `format=csv` as a table of these columns, where the header
/// `x-next-token` says what is next.
pub(crate) fn answer(
    asked: &Asked,
    name: &'static str,
    columns: &[&str],
    rows: &[Value],
    next: Option<u64>,
) -> Result<Response, ApiError> {
    match asked.get("format") {
        None | Some("json") => Ok(Json(json!({ name: rows, "next": next })).into_response()),
        Some("csv") => {
            let next = next.map(|next| [(NEXT_TOKEN, next.to_string())]);
            Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], next, table(columns, rows)).into_response())
        }
        Some(_) => Err(ApiError::invalid_param("format: neither json nor csv.")),
    }
}

fn table(columns: &[&str], rows: &[Value]) -> String {
    let mut table = columns.join(",");
    table.push_str("\r\n");
    for row in rows {
        let cells = columns.iter().map(|column| match &row[*column] {
            Value::Null => cell(""),
            Value::String(text) => cell(text),
            Value::Array(texts) => cell(&texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
            other => cell(&other.to_string()),
        });
        table.push_str(&cells.collect::<Vec<_>>().join(","));
        table.push_str("\r\n");
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{cell, table};

    #[test]
    fn no_cell_is_a_formula_or_ends_early() {
        assert_eq!(cell("@alice:a.example"), "\"'@alice:a.example\"");
        assert_eq!(cell("=1+1"), "\"'=1+1\"");
        assert_eq!(cell("\t=1+1"), "\"'\t=1+1\"");
        assert_eq!(cell("say \"no\", then"), "\"say \"\"no\"\", then\"");
    }

    #[test]
    fn a_table_has_the_columns_in_their_order() {
        let rows = [json!({ "b": 5, "a": "x", "c": 1 }), json!({ "a": null, "b": ["y", "z"] })];
        assert_eq!(table(&["a", "b"], &rows), "a,b\r\n\"x\",\"5\"\r\n\"\",\"y z\"\r\n");
    }
}
