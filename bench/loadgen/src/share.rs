//! What a part of a server costs: the same runs with it and without it, side by side.

use serde_json::Value;

use crate::stats::median;

/// A measure that the part may worsen by so much at most.
struct Row {
    what: &'static str,
    scenario: &'static str,
    path: &'static str,
    /// Whether more of it is better.
    is_rate: bool,
    /// The largest share, as a fraction of what was measured without the part; none where it is only shown.
    most: Option<f64>,
}

/// What the audit trail may add to sending, and to `/sync`.
const SEND_SHARE_MAX: f64 = 0.10;
const SYNC_SHARE_MAX: f64 = 0.15;

const ROWS: &[Row] = &[
    rate("messages sent by 16 senders, per second", "send", "/metrics/send/per_s", Some(SEND_SHARE_MAX)),
    cost("processor time of a sent message, ms", "send", "/resources/cpu_ms_per_op", None),
    cost("initial sync of 40 rooms, p50, ms", "initial-sync", "/metrics/initial/p50_ms", Some(SYNC_SHARE_MAX)),
    cost("sync with one message, p50, ms", "initial-sync", "/metrics/incremental/p50_ms", Some(SYNC_SHARE_MAX)),
    cost("sync without news, p50, ms", "initial-sync", "/metrics/idle/p50_ms", Some(SYNC_SHARE_MAX)),
    cost("processor time of these syncs, ms", "initial-sync", "/resources/cpu_ms_per_op", Some(SYNC_SHARE_MAX)),
    cost("message delivered to 50 waiting clients, p50, ms", "fanout", "/metrics/deliver/p50_ms", Some(SYNC_SHARE_MAX)),
    cost("processor time of a delivery, ms", "fanout", "/resources/cpu_ms_per_op", Some(SYNC_SHARE_MAX)),
];

const fn rate(what: &'static str, scenario: &'static str, path: &'static str, most: Option<f64>) -> Row {
    Row { what, scenario, path, is_rate: true, most }
}

const fn cost(what: &'static str, scenario: &'static str, path: &'static str, most: Option<f64>) -> Row {
    Row { what, scenario, path, is_rate: false, most }
}

/// A Markdown table of the share of a part, where the runs of `with` have it and those of `without` have not; and whether each
/// share is within its bound.
pub fn table(lines: &[Value], with: &str, without: &str) -> (String, bool) {
    let mut out = format!("| measure | {without} | {with} | share | at most | |\n|---|---:|---:|---:|---:|---|\n");
    let mut all = true;
    for row in ROWS {
        let (a, b) = (measured(lines, without, row), measured(lines, with, row));
        let share = a.zip(b).map(|(a, b)| if row.is_rate { 1.0 - b / a } else { b / a - 1.0 });
        let number =
            |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
        let percent = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{:.1} %", 100.0 * value));
        let verdict = match (row.most, share) {
            (None, _) => "",
            (Some(most), Some(share)) if share <= most => "ok",
            _ => "not reached",
        };
        all &= verdict != "not reached";
        let cells = [number(a, 3), number(b, 3), percent(share), percent(row.most), verdict.to_owned()];
        out.push_str(&format!("| {} | {} |\n", row.what, cells.join(" | ")));
    }
    (out, all)
}

/// The median over the runs of a label.
fn measured(lines: &[Value], label: &str, row: &Row) -> Option<f64> {
    let of = |line: &&Value| line["label"] == label && line["scenario"] == row.scenario;
    let values: Vec<f64> = lines.iter().filter(of).filter_map(|line| line.pointer(row.path)?.as_f64()).collect();
    median(&values)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::table;

    /// The lines of a server: messages per second, and milliseconds of everything that is a time.
    fn lines(label: &str, per_s: f64, ms: f64) -> Vec<Value> {
        let line = |scenario: &str, metrics: Value| json!({"label": label, "scenario": scenario, "metrics": metrics, "resources": {"cpu_ms_per_op": ms}});
        let time = json!({"p50_ms": ms});
        vec![
            line("send", json!({"send": {"per_s": per_s}})),
            line("initial-sync", json!({"initial": time, "incremental": time, "idle": time})),
            line("fanout", json!({"deliver": time})),
        ]
    }

    #[test]
    fn within_the_bounds() {
        let both = [lines("without", 1_000.0, 1.0), lines("with", 950.0, 1.1)].concat();
        let (table, all) = table(&both, "with", "without");
        assert!(all, "{table}");
        assert!(
            table.contains("| messages sent by 16 senders, per second | 1000.000 | 950.000 | 5.0 % | 10.0 % | ok |"),
            "{table}"
        );
    }

    #[test]
    fn beyond_a_bound_or_not_measured() {
        let slow = [lines("without", 1_000.0, 1.0), lines("with", 800.0, 1.1)].concat();
        assert!(!table(&slow, "with", "without").1);
        let late = [lines("without", 1_000.0, 1.0), lines("with", 1_000.0, 1.2)].concat();
        assert!(!table(&late, "with", "without").1);
        assert!(!table(&lines("with", 1_000.0, 1.0), "with", "without").1);
    }
}
