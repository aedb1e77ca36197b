//! The targets of the project, and whether a run reaches them.

use serde_json::Value;

use crate::stats::median;

/// Throughput of `send` to reach, as a multiple of the peer's in the same table.
const SEND_TIMES_PEER: f64 = 30.0;
/// The label of the peer that `send` is compared with.
const PEER: &str = "synapse-sqlite";

/// Where a measure is found in a result line, and what it must be.
struct Goal {
    what: &'static str,
    scenario: &'static str,
    path: &'static str,
    bound: Bound,
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const GOALS: &[Goal] = &[
    goal("processor time of a sent message", "send", "/resources/cpu_ms_per_op", Bound::AtMost(1.3), "ms"),
    goal(
        "message delivered to the last of 50 waiting clients, p99",
        "fanout",
        "/metrics/deliver/p99_ms",
        Bound::AtMost(25.0),
        "ms",
    ),
    goal("joins of a storm", "join-storm", "/metrics/join/per_s", Bound::AtLeast(300.0), "/s"),
    goal("events of history", "history", "/metrics/page/events_per_s", Bound::AtLeast(28_000.0), "/s"),
    goal("idle sync, p50", "initial-sync", "/metrics/idle/p50_ms", Bound::AtMost(1.0), "ms"),
    goal(
        "initial sync of 300 rooms, warm, p50",
        "account-size",
        "/metrics/initial_300/p50_ms",
        Bound::AtMost(150.0),
        "ms",
    ),
    goal(
        "sync with nothing new in 300 rooms, p50",
        "account-size",
        "/metrics/idle_300/p50_ms",
        Bound::AtMost(2.0),
        "ms",
    ),
    goal(
        "first window of sliding sync, 10 rooms, p50",
        "account-size",
        "/metrics/window_10/p50_ms",
        Bound::AtMost(20.0),
        "ms",
    ),
    goal("the same, 300 rooms", "account-size", "/metrics/window_300/p50_ms", Bound::AtMost(20.0), "ms"),
    goal("the same, 3,000 rooms", "account-size", "/metrics/window_3000/p50_ms", Bound::AtMost(20.0), "ms"),
    goal("page of 100 events of history, p50", "history", "/metrics/page/p50_ms", Bound::AtMost(5.0), "ms"),
    goal("memory that 100 MB up and down take", "media", "/metrics/memory/extra_mb", Bound::AtMost(30.0), "MB"),
    goal("memory after the whole run (PSS)", "login", "/resources/pss_end_mb", Bound::AtMost(100.0), "MB"),
];

const fn goal(
    what: &'static str,
    scenario: &'static str,
    path: &'static str,
    bound: Bound,
    unit: &'static str,
) -> Goal {
    Goal { what, scenario, path, bound, unit }
}

/// The median of a measure over the runs of a label.
fn measured(lines: &[Value], label: &str, scenario: &str, path: &str) -> Option<f64> {
    let of = |line: &&Value| line["label"] == label && line["scenario"] == scenario;
    let values: Vec<f64> = lines.iter().filter(of).filter_map(|line| line.pointer(path)?.as_f64()).collect();
    median(&values)
}

/// Errors counted in the metrics of a label's runs.
fn errors(lines: &[Value], label: &str) -> u64 {
    let of_label = lines.iter().filter(|line| line["label"] == label);
    let metrics =
        of_label.flat_map(|line| line["metrics"].as_object().into_iter().flat_map(|metrics| metrics.values()));
    metrics.filter_map(|metric| metric["errors"].as_u64()).sum()
}

fn row(what: &str, value: Option<f64>, bound: Bound, unit: &str) -> (String, bool) {
    let (target, reached) = match bound {
        Bound::AtLeast(least) => (format!("≥ {least:.0}"), value.is_some_and(|value| value >= least)),
        Bound::AtMost(most) => (format!("≤ {most}"), value.is_some_and(|value| value <= most)),
    };
    let shown = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    let verdict = if reached { "ok" } else { "not reached" };
    (format!("| {what} | {shown} {unit} | {target} {unit} | {verdict} |\n"), reached)
}

/// A Markdown table of target, measure and verdict for a label, and whether all are reached.
pub fn table(lines: &[Value], label: &str) -> (String, bool) {
    let mut out = String::from("| target | measured | wanted | |\n|---|---:|---:|---|\n");
    let mut all = true;
    let mut add = |(row, reached): (String, bool)| {
        out.push_str(&row);
        all &= reached;
    };
    let send = |label| measured(lines, label, "send", "/metrics/send/per_s");
    // Without the peer's figure there is nothing to be a multiple of.
    let wanted = send(PEER).map_or(f64::INFINITY, |peer| SEND_TIMES_PEER * peer);
    let what = format!("messages sent by 16 senders, {SEND_TIMES_PEER:.0} times {PEER}");
    add(row(&what, send(label), Bound::AtLeast(wanted), "/s"));
    for goal in GOALS {
        add(row(goal.what, measured(lines, label, goal.scenario, goal.path), goal.bound, goal.unit));
    }
    add(row("failed requests", Some(errors(lines, label) as f64), Bound::AtMost(0.0), ""));
    (out, all)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::table;

    fn lines(per_s: f64, cpu: f64) -> Vec<Value> {
        let line = |label: &str, scenario: &str, metrics: Value, resources: Value| json!({"label": label, "scenario": scenario, "metrics": metrics, "resources": resources});
        vec![
            line("synapse-sqlite", "send", json!({"send": {"per_s": 40.0}}), json!({})),
            line("us", "send", json!({"send": {"per_s": per_s, "errors": 0}}), json!({"cpu_ms_per_op": cpu})),
            line("us", "fanout", json!({"deliver": {"p99_ms": 20.0}}), json!({})),
            line("us", "join-storm", json!({"join": {"per_s": 400.0}}), json!({})),
            line("us", "history", json!({"page": {"events_per_s": 30_000.0, "p50_ms": 2.0}}), json!({})),
            line(
                "us",
                "account-size",
                json!({"initial_300": {"p50_ms": 90.0}, "idle_300": {"p50_ms": 1.0},
                "window_10": {"p50_ms": 5.0}, "window_300": {"p50_ms": 6.0}, "window_3000": {"p50_ms": 7.0}}),
                json!({}),
            ),
            line("us", "media", json!({"memory": {"extra_mb": 12.0}}), json!({})),
            line("us", "initial-sync", json!({"idle": {"p50_ms": 0.5}}), json!({})),
            line("us", "login", json!({"login": {"errors": 0}}), json!({"pss_end_mb": 80.0})),
        ]
    }

    #[test]
    fn all_reached() {
        let (table, all) = table(&lines(1_300.0, 1.0), "us");
        assert!(all, "{table}");
        assert!(table.contains("30 times synapse-sqlite | 1300.00 /s | ≥ 1200 /s | ok |"), "{table}");
    }

    #[test]
    fn one_missed_or_missing_is_told() {
        let (missed, all) = table(&lines(1_100.0, 1.4), "us");
        assert!(!all && missed.matches("not reached").count() == 2, "{missed}");
        let (missing, all) = table(&lines(1_300.0, 1.0)[..4], "us");
        assert!(!all && missing.contains("| – MB |"), "{missing}");
    }

    #[test]
    fn failed_requests_are_no_success() {
        let mut lines = lines(1_300.0, 1.0);
        lines[8]["metrics"]["login"]["errors"] = json!(2);
        let (table, all) = table(&lines, "us");
        assert!(!all && table.contains("| failed requests | 2.00  | ≤ 0  | not reached |"), "{table}");
    }
}
